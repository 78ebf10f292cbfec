"""Videos and folders of numbered frames: the index of their frames, frames by number, and which frames to take."""
