"""Files of labels -> label layers on the grid of the image that they belong to."""
