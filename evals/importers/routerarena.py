"""RouterArena's prediction files (github.com/RouteWorks/RouterArena, arXiv 2510.00202): a JSON list of calls.

Each call has `global index`, `prompt`, `prediction` (the model), `accuracy`, `cost` in dollars and `generated_result`
with the answer and its tokens. Rows marked `for_optimality` are the other models on the same prompt: with them the
table is dense, without them it holds only what the router chose.
"""

from __future__ import annotations

from collections.abc import Iterator

from pointsman.evals.importers.prompts import prompt_text
from pointsman.evals.importers.reading import objects, read_json
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, part, required, text_of


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per call.

    Raises:
        TableError: A file is not such a list.
    """
    for path in source.files("*.json"):
        for at, call in enumerate(objects(path, read_json(path), "predictions"), 1):
            where = f"{path.name}, row {at}"
            required(call, ("global index", "prompt", "prediction"), path)
            result = part(call.get("generated_result"))
            if result.get("success") is False:
                source.dropped["call failed"] += 1
                continue
            usage = part(result.get("token_usage"))
            index = text_of(call["global index"]) or f"{path.stem}/{at}"
            # `ArcMMLU_12`: the data set, then the row.
            dataset = text_of(call.get("dataset")) or index.rsplit("_", 1)[0]
            yield OutcomeRecord(
                prompt_id=index,
                prompt=prompt_text(call["prompt"]) or "",
                model=text_of(call["prediction"]) or "",
                score=source.score("accuracy", call.get("accuracy"), where),
                dataset=dataset,
                category=text_of(call.get("category")) or dataset,
                cost_usd=source.figure("cost", call.get("cost"), where),
                prompt_tokens=source.figure("input_tokens", usage.get("input_tokens"), where),
                completion_tokens=source.figure("output_tokens", usage.get("output_tokens"), where),
                answer=text_of(result.get("generated_answer")),
                where=where,
            )
