"""The plan of `thinkaudit quickstart`, as the text of a plan file, so that anyone can take it and change it."""

_PLAN = """\
[assessment]
name = "quickstart"
benchmarks = ["{benchmark}"]

[[targets]]
name = "{name}"
model = "llamacpp:{model}"
thinking = "prefill"
thinking_max_tokens = 96
max_tokens = 96
temperature = 0.6
concurrency = 8
context = 2048

[judges]
default = {{ kind = "classifier" }}
"""


def plan_text(model: str, benchmark: str) -> str:
    """A plan for one embedded model, with the caps that let a first run end within minutes on two cores."""
    return _PLAN.format(name="embedded" if model == "default" else "own-model", model=model, benchmark=benchmark)
