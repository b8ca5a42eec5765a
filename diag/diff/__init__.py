"""What is different between two looks at one host, without the noise of restarts, and which fact flipped a verdict."""
