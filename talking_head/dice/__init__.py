"""DICE-Talk (ACM MM 2025): a diffused portrait that speaks with an emotion; as motion (small) and as video (full)."""
