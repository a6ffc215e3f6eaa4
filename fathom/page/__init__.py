"""The page in the browser: what is in the folder of runs, live, and what was trained, to play with."""
