"""``python -m framecast`` is ``framecast``."""

from framecast.cli import main

main()
