"""``launch=nohup``: in the background, with the files that ``nohup`` scripts leave."""
