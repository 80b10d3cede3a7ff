"""From speech and an emotion to motion: EMOTE (Danecek et al., SIGGRAPH Asia 2023) in ARKit coefficients."""
