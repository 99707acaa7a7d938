"""One module per figure of the study; ``base.py`` holds what they read and share."""
