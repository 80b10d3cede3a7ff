"""The studio's light and dark themes."""

import gradio as gr


def theme() -> gr.themes.Base:
    """Ink on paper, gold where something moves; no font is fetched from elsewhere. Every text reaches 4.5:1."""
    ink, paper, line, gold, quiet = "#22303c", "#faf8f4", "#d8cfbf", "#9a5f00", "#586571"
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return gr.themes.Base(**fonts, primary_hue="amber", neutral_hue="stone", radius_size="md").set(
        body_background_fill=paper, body_background_fill_dark="#14191e", body_text_color=ink,
        body_text_color_dark="#e9e4da", body_text_color_subdued=quiet, body_text_color_subdued_dark="#aab3bb",
        block_background_fill="white", block_background_fill_dark="#1d242b", block_border_color=line,
        block_border_color_dark="#39434d", border_color_primary=line, border_color_primary_dark="#39434d",
        background_fill_secondary="#f3eee4", background_fill_secondary_dark="#262f37",
        block_border_width="1px", block_label_background_fill="white", block_label_background_fill_dark="#1d242b",
        block_label_text_color=quiet, block_label_text_color_dark="#aab3bb", block_label_border_width="0px",
        block_title_text_color=ink, block_title_text_color_dark="#e9e4da", block_title_text_weight="600",
        block_info_text_color=quiet, block_info_text_color_dark="#aab3bb", input_background_fill="#fdfcfa",
        input_background_fill_dark="#151b20", input_border_color=line, input_border_color_dark="#39434d",
        input_placeholder_color="#6b7680", input_placeholder_color_dark="#98a2ab", slider_color=gold,
        slider_color_dark="#e0a03a", button_primary_background_fill=ink, button_primary_background_fill_dark="#e0a03a",
        button_primary_background_fill_hover="#3a4f61", button_primary_background_fill_hover_dark="#eab75f",
        button_primary_text_color="white", button_primary_text_color_dark="#14191e",
        button_secondary_background_fill="white", button_secondary_background_fill_dark="#1d242b",
        button_secondary_background_fill_hover="#f3eee4", button_secondary_background_fill_hover_dark="#2a343d",
        button_secondary_text_color=ink, button_secondary_text_color_dark="#e9e4da",
        button_secondary_border_color=line, button_secondary_border_color_dark="#39434d",
        color_accent_soft="#f7ecd8", button_border_width="1px", color_accent=gold, loader_color=gold,
        link_text_color="#8a5200", link_text_color_dark="#e9b65e", error_text_color="#a61b12",
        error_text_color_dark="#ff9d94",
    )  # fmt: skip
