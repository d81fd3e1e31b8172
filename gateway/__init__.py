"""The HTTP proxy: translate, admit, decide, dispatch, record."""
