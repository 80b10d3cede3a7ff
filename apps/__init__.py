"""User interfaces: studio, server, pages, scenes, ComfyUI nodes."""
