"""The demo page: a question and some answers in; each step colored by its reward, and the best answer marked.

It travels to the demo's Space with the two modules it imports, and needs Gradio only (the extra `demo`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ..scoring.aggregation import DEFAULT_AGGREGATION, aggregate, aggregations_of
from ..scoring.units import DEFAULT_UNIT
from .colors import color_class, stylesheet

MAX_ANSWERS = 8
MAX_CHARACTERS = 20_000

#: Shown at first, where no other example is given.
EXAMPLE: Mapping[str, Any] = {
    "question": "What is 2 + 3, times 4?",
    "answers": [
        "First, 2 + 3 = 5.\nThen, 5 times 4 is 20.\nThe answer is 20.",
        "First, 3 times 4 is 12.\nThen, 2 + 12 = 14.\nThe answer is 14.",
    ],
}

_NOTE = (
    "A step's reward is that of the answer up to and including it: a raw number without a unit. Compare rewards of "
    "answers to one question only, never across questions. Colors go from the lowest step reward (orange) to the "
    "highest (blue) on this page."
)

_STYLE = f"""
{stylesheet()}
.message, .warning {{ border-inline-start: .25rem solid #b45309; padding: .25rem .75rem; }}
.answer {{ border: 1px solid #80808080; border-radius: .5rem; padding: .5rem .75rem; margin: .75rem 0; }}
.answer.best {{ border: 2px solid currentColor; }}
.answer h3 {{ margin: 0 0 .5rem; font-size: 1.05rem; }}
.mark {{ border: 1px solid currentColor; border-radius: .3rem; padding: 0 .4rem; margin-inline: .4rem .1rem; }}
.steps {{ list-style: none; margin: 0; padding: 0; }}
.steps li {{ display: grid; grid-template-columns: 5.5rem minmax(0, 1fr); gap: .5rem; margin: .2rem 0; }}
.value {{ border-radius: .3rem; border: 1px solid #00000040; padding: 0 .4rem; font-weight: 600; text-align: center;
  align-self: start; font-variant-numeric: tabular-nums; forced-color-adjust: none; }}
.none {{ font-weight: 400; border-style: dashed; border-color: currentColor; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
"""

#: Answers with their step rewards, as the scoring pipeline gives them.
Outputs = Sequence[Mapping[str, Any]]


def build_for(scorer: Any, title: str, example: Mapping[str, Any] = EXAMPLE) -> Any:
    """The demo of a scoring pipeline as `gradio.Blocks`, with its checkpoint's aggregation at first.

    `example` is a `question` (a text) and up to `MAX_ANSWERS` `answers` to begin with.
    """
    import gradio as gr

    settings = getattr(scorer.model.config, "openprm", None) or {}
    aggregation = settings.get("aggregation", DEFAULT_AGGREGATION)
    given = list(example["answers"])[:MAX_ANSWERS]
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {title}\n{_NOTE}")
        outputs = gr.State(())
        shown = gr.State(len(given))
        question = gr.Textbox(example["question"], label="Question", lines=2)
        answers = [
            gr.Textbox(text or "", label=f"Answer {number}", lines=3, visible=text is not None)
            for number, text in enumerate([*given, *[None] * (MAX_ANSWERS - len(given))], 1)
        ]
        with gr.Row():
            add = gr.Button("Add an answer", interactive=len(given) < MAX_ANSWERS)
            remove = gr.Button("Remove the last answer", interactive=len(given) > 1)
        names = aggregations_of(settings.get("unit", DEFAULT_UNIT))
        choice = gr.Dropdown(names, value=aggregation, label="Aggregation: step rewards to one score")
        run = gr.Button("Score", variant="primary")
        page = gr.HTML(css_template=_STYLE, elem_id="result")

        def resize(count: int, by: int) -> list[Any]:
            count = min(max(count + by, 1), MAX_ANSWERS)
            boxes = [gr.update(visible=index < count) for index in range(MAX_ANSWERS)]
            return [count, gr.update(interactive=count < MAX_ANSWERS), gr.update(interactive=count > 1), *boxes]

        def scored(question: str, aggregation: str, count: int, *answers: str) -> tuple[Outputs, str]:
            try:
                found = score_answers(scorer, question, answers[:count])
            except ValueError as error:
                return (), f'<p class="message" role="alert">{escape(str(error))}</p>'
            return found, result(found, aggregation)

        def again(outputs: Outputs, aggregation: str) -> Any:
            return result(outputs, aggregation) if outputs else gr.skip()

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        changed = [shown, add, remove, *answers]
        add.click(lambda count: resize(count, 1), shown, changed, **private)
        remove.click(lambda count: resize(count, -1), shown, changed, **private)
        run.click(scored, [question, choice, shown, *answers], [outputs, page], api_visibility="private")
        choice.change(again, [outputs, choice], page, **private)
    return blocks


def serve(blocks: Any, **options: Any) -> None:
    """Launches the demo with its colors; `options` are those of `gradio.Blocks.launch`."""
    import gradio as gr

    # white on Gradio's own orange button is hard to read (3.6 to 1)
    blocks.launch(theme=gr.themes.Default(primary_hue="blue"), show_error=True, **options)


def score_answers(
    score: Callable[[dict[str, str]], Mapping[str, Any]], question: str, answers: Sequence[str]
) -> list[Mapping[str, Any]]:
    """The outputs of the scoring pipeline `score`; raises ValueError that says which text is wrong, and what to do."""
    remedy = "write it, or remove the last answer" if len(answers) > 1 else "write it"
    numbered = {f"Answer {number}": answer for number, answer in enumerate(answers, 1)}
    for name, text in {"The question": question, **numbered}.items():
        if not text.strip():
            raise ValueError(f"{name} is empty: {'write it' if text is question else remedy}.")
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"{name} has {len(text):,} characters, and {MAX_CHARACTERS:,} are the most: shorten it.")
    outputs: list[Mapping[str, Any]] = []
    for name, answer in numbered.items():  # one by one: an error is about one answer
        try:
            outputs.append(score({"question": question, "response": answer}))
        except ValueError as error:
            raise ValueError(f"{name} cannot be scored: {error}") from error
    return outputs


def result(outputs: Outputs, aggregation: str) -> str:
    """Scored answers as HTML: the best one named first, then each with its steps. Texts are escaped."""
    rewards = [[reward for reward in output["step_rewards"] if reward is not None] for output in outputs]
    scores = [aggregate(given, aggregation) for given in rewards]
    low, high = min(map(min, rewards)), max(map(max, rewards))
    best = [index for index, score in enumerate(scores) if score == max(scores)]
    parts = [f'<p role="status">{_verdict(scores, best)}</p>']
    for index, (output, score) in enumerate(zip(outputs, scores, strict=True)):
        wins = index in best and len(outputs) > 1
        mark = f'<span class="mark">{"best" if len(best) == 1 else "tied for best"}</span>' if wins else ""
        heading = f"Answer {index + 1}{mark}: score {_signed(score)} ({escape(aggregation)})"
        parts.append(f'<section class="answer{" best" if wins else ""}"><h3>{heading}</h3>')
        if output["truncated"]:
            parts.append(
                f'<p class="warning">Too long for the model: the steps from {len(rewards[index]) + 1} on have no '
                "reward, and the score is made of those before.</p>"
            )
        steps = zip(output["steps"], output["step_rewards"], strict=True)
        parts.append(f'<ol class="steps">{"".join(_step(text, reward, low, high) for text, reward in steps)}</ol>')
        parts.append("</section>")
    return "".join(parts)


def _verdict(scores: Sequence[float], best: Sequence[int]) -> str:
    if len(scores) == 1:
        return f"One answer, score {_signed(scores[0])}. Add another one to compare them."
    if len(best) > 1:
        numbers = ", ".join(str(index + 1) for index in best)
        return f"A tie for the best: answers {numbers}, score {_signed(scores[best[0]])}."
    return f"The best is answer {best[0] + 1}, score {_signed(scores[best[0]])}."


def _step(text: str, reward: float | None, low: float, high: float) -> str:
    if reward is None:
        value = '<span class="value none">no reward</span>'
    else:
        value = f'<span class="value c{color_class(reward, low, high)}">{_signed(reward)}</span>'
    return f'<li>{value}<span class="text" dir="auto">{escape(text.rstrip())}</span></li>'


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
