"""The future of a clip of one's own, from cells that are trained.

A clip is read (``video_files``, ``image_folders``, ``arrays``), brought to what the systems were trained on (``clip``),
continued (``systems``) and written beside everything that was done to it (``written``); ``future`` is the whole way.
"""
