"""RouterArena's prediction files (github.com/RouteWorks/RouterArena, arXiv 2510.00202): a JSON list of calls.

Each call has `global index`, `prompt`, `prediction` (the model), `accuracy`, `cost` in dollars and `generated_result`
with the answer and its tokens. Rows marked `for_optimality` are the other models on the same prompt: with them the
table is dense, without them it holds only what the router chose.
"""

from __future__ import annotations

from collections.abc import Iterator

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_json, required


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per call.

    Raises:
        TableError: A file is not such a list.
    """
    for path in source.files("*.json"):
        calls = read_json(path)
        if not isinstance(calls, list):
            raise TableError(f"{path}: not a list of predictions")
        for call in calls:
            required(call, ("global index", "prompt", "prediction"), path)
            result = call.get("generated_result") or {}
            if result.get("success") is False:
                source.dropped["call failed"] += 1
                continue
            usage = result.get("token_usage") or {}
            index = str(call["global index"])
            # `ArcMMLU_12`: the data set, then the row.
            dataset = call.get("dataset") or index.rsplit("_", 1)[0]
            yield OutcomeRecord(
                prompt_id=index,
                prompt=call["prompt"],
                model=call["prediction"],
                score=number(call.get("accuracy")),
                dataset=dataset,
                category=call.get("category") or dataset,
                cost_usd=number(call.get("cost")),
                prompt_tokens=number(usage.get("input_tokens")),
                completion_tokens=number(usage.get("output_tokens")),
                answer=result.get("generated_answer"),
            )
