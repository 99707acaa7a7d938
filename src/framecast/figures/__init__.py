"""One module per figure of the study; ``base.py`` holds how they are drawn."""
