"""What the performance figures come from: large hosts that are made up, and what the commands cost on them."""
