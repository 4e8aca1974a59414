"""The demo of OWNER/openprm: the scoring code comes with the model, the page from `openprm_demo`."""

import json
from pathlib import Path

from openprm_demo.viewer.demo_page import build_for, serve
from transformers import pipeline

MODEL = "OWNER/openprm"

example = json.loads(Path(__file__).with_name("example.json").read_text("utf-8"))
demo = build_for(pipeline("openprm-scoring", model=MODEL, trust_remote_code=True), f"Step rewards by {MODEL}", example)

if __name__ == "__main__":
    serve(demo)
