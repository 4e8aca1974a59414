"""Card templates (Jinja); `openprm.card` fills them."""
