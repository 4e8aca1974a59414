"""Card templates (Jinja); `openprm.runs.dataset_card` fills them."""
