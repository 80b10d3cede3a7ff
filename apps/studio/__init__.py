"""The studio: `affekt studio` serves it; `apps.studio.main` builds the page."""
