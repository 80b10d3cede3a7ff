"""The studio's theme."""

import gradio as gr

LIGHT = "() => document.body.classList.remove('dark')"  # the plane's colours need a light background


def theme() -> gr.themes.Base:
    """Dark text on a light background with gold accents; system fonts only."""
    ink, paper, line, gold = "#22303c", "#faf8f4", "#e6dfd3", "#c77d0a"
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return gr.themes.Base(**fonts, primary_hue="amber", neutral_hue="stone", radius_size="md").set(
        body_background_fill=paper, body_text_color=ink, block_background_fill="white", block_border_color=line,
        block_border_width="1px", block_label_background_fill="white", block_label_text_color="#66727d",
        block_label_border_width="0px", block_title_text_color=ink, block_title_text_weight="600",
        block_info_text_color="#7a848d", input_background_fill="#fdfcfa", input_border_color=line,
        slider_color=gold, button_primary_background_fill=ink, button_primary_background_fill_hover="#3a4f61",
        button_primary_text_color="white", button_secondary_background_fill="white",
        button_secondary_background_fill_hover="#f3eee4", button_secondary_border_color=line,
        color_accent_soft="#f7ecd8", button_border_width="1px", color_accent=gold, loader_color=gold,
    )  # fmt: skip
