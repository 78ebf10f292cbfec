"""Cases of one entry in the layouts of other tools: nnU-Net, MONAI, WebDataset, BIDS."""
