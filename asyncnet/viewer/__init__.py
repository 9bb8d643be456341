"""A page that shows a run while it goes on, or again: what it is made of (source), how it is served (serving), the page itself (page/)."""
