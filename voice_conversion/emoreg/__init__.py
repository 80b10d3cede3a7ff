"""EmoReg (AAAI 2025): a mean-reverting diffusion from the average voice, told an emotion of any intensity."""
