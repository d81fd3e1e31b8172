"""The decision told slowly: one expert at a time, plain floats, no arrays. What `TwoStageRouter.select` must equal."""

from __future__ import annotations

import math
from datetime import date

from pointsman.experts.spec import ExpertSpec, ExpertState, PoolView, Speed
from pointsman.routers.estimators.prior import quality_prior
from pointsman.routers.types import Assessment, Estimates, Quality, Reason, RouteRequest, Rule

Refusal = tuple[str, bool]


def plain_estimates(
    spec: ExpertSpec, state: ExpertState, request: RouteRequest, assessment: Assessment
) -> tuple[Quality, dict[str, float | None]]:
    """Quality, and the amounts of `Estimates` by name."""
    name = spec.known_as or spec.name
    quality = assessment.quality.get(name) or quality_prior(spec, assessment.classification)
    tokens, worst = assessment.completion_tokens.get(name, (256.0, math.nan))
    limit = spec.default_max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    told = assessment.classification
    if told.out_of_scope or told.unmeasured or told.unread_language or not worst >= 32:
        worst = 1024.0 if limit is None else float(limit)
    bounds = [] if limit is None else [limit]
    if spec.context_window_tokens is not None:
        bounds.append(max(spec.context_window_tokens - request.prompt_tokens * state.tokens.typical, 0))
    tokens, worst = min([tokens, *bounds]), min([worst, *bounds])
    prompt, prompt_worst = (request.prompt_tokens * by for by in (state.tokens.typical, state.tokens.worst))
    out: dict[str, float | None] = {"completion_tokens": tokens, "completion_tokens_worst": worst}
    out["cost_usd"] = spec.price.cost_usd(prompt, tokens) if spec.price else None
    out["cost_usd_worst"] = None
    if spec.price:
        price = spec.price
        inputs = (price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.cache_write_usd_per_mtok)
        outputs = (price.output_usd_per_mtok, price.reasoning_usd_per_mtok)
        dearest = [max(one for one in kinds if one is not None) for kinds in (inputs, outputs)]
        out["cost_usd_worst"] = (prompt_worst * dearest[0] + worst * dearest[1]) / 1e6
    out["energy_j"] = spec.energy.energy_j(prompt, tokens) if spec.energy else None
    out["energy_j_worst"] = spec.energy.energy_j(prompt_worst, worst) if spec.energy else None
    load = 1.0 + state.in_flight / spec.batch
    for when, speed, slower in (("", state.speed, load), ("_idle", state.idle_speed, 1.0)):
        ttft, ttft_worst, tpot, tpot_worst = _plain_speed(spec, speed, request.prompt_tokens, slower)
        known = ttft is not None and tpot is not None
        out[f"ttft_ms{when}"], out[f"ttft_ms_worst{when}"] = ttft, ttft_worst
        out[f"latency_ms{when}"] = ttft + tokens * tpot if known else None
        out[f"latency_ms_worst{when}"] = ttft_worst + worst * tpot_worst if known else None
    return quality, out


def _plain_speed(
    spec: ExpertSpec, speed: Speed, prompt_tokens: int, load: float
) -> tuple[float | None, float | None, float | None, float | None]:
    """Time to first token and time per token, each as expected and in the worst case."""
    model = spec.latency
    ttft = ttft_worst = tpot = tpot_worst = None
    if speed.ttft_ms is not None:
        ttft = speed.ttft_ms + prompt_tokens * speed.prefill_ms_per_token
        ttft_worst = ttft * speed.ttft_p95_factor
    elif model:
        ttft = model.ttft_ms(prompt_tokens) * load
        ttft_worst = ttft * model.p95_factor
    if speed.tpot_ms is not None:
        tpot, tpot_worst = speed.tpot_ms, speed.tpot_ms * speed.tpot_p95_factor
    elif model:
        tpot, tpot_worst = model.tpot_ms * load, model.tpot_ms * load * model.p95_factor
    return ttft, ttft_worst, tpot, tpot_worst


def plain_refusal(
    spec: ExpertSpec, state: ExpertState, request: RouteRequest, quality: float, amounts: dict[str, float | None]
) -> Refusal | None:
    """The first rule the expert breaks, and whether waiting helps."""
    budget = request.budget
    if request.allowed is not None and spec.name not in request.allowed:
        return Rule.NOT_ALLOWED, False
    if request.required - spec.capabilities:
        return Rule.CAPABILITY, False
    window = spec.context_window_tokens
    completion = 1 if request.max_completion_tokens is None else request.max_completion_tokens
    if window is not None and request.prompt_tokens * state.tokens.worst + completion > window:
        return Rule.CONTEXT_WINDOW, False
    if budget.local_only and not spec.local:
        return Rule.NOT_LOCAL, False
    if budget.min_quality is not None and quality < budget.min_quality:
        return "min_quality", False
    for cap, name, unknown, over in (
        (budget.max_cost_usd, "cost_usd_worst", "cost_unknown", "max_cost_usd"),
        (budget.max_energy_j, "energy_j_worst", "energy_unknown", "max_energy_j"),
        (budget.max_ttft_ms, "ttft_ms_worst", "latency_unknown", "max_ttft_ms"),
        (budget.max_latency_ms, "latency_ms_worst", "latency_unknown", "max_latency_ms"),
    ):
        worst = amounts[name]
        if cap is not None and worst is None:
            return unknown, False
        if cap is not None and worst is not None and worst > cap:
            idle = amounts.get(f"{name}_idle")
            return over, idle is not None and idle <= cap
    if not state.awake:
        return Rule.ASLEEP, True
    if not state.healthy:
        return Rule.UNHEALTHY, True
    if spec.max_concurrency is not None and state.in_flight >= spec.max_concurrency:
        return Rule.SATURATED, True
    return None


def _share(value: float | None, known: list[float]) -> float:
    if value is None:
        return 1.0
    return value / max(known) if max(known) > 0 else 0.0


def _at_worst(value: float | None, known: list[float]) -> float:
    return max(known, default=0.0) if value is None else value


def plain_terms(
    request: RouteRequest, pool: list[tuple[ExpertSpec, Quality, dict[str, float | None]]]
) -> list[dict[str, float]]:
    """The terms of the utility of each admissible expert."""
    weights, prices = request.budget.weights, request.budget.prices
    days = [date.fromisoformat(spec.released).toordinal() if spec.released else None for spec, _, _ in pool]
    dated = [day for day in days if day is not None]
    out = []
    for (spec, quality, amounts), day in zip(pool, days, strict=True):
        terms = {"quality": weights.quality * quality.mean}
        for name, weight, key in (
            ("latency", weights.latency, "latency_ms"),
            ("energy", weights.energy, "energy_j"),
            ("cost", weights.cost, "cost_usd"),
            ("verbosity", weights.verbosity, "completion_tokens"),
        ):
            known = [one[key] for _, _, one in pool if one[key] is not None]
            if weight:
                terms[name] = -weight * _share(amounts[key], known)
        if weights.size:
            known = [one.params_total_b for one, _, _ in pool if one.params_total_b is not None]
            terms["size"] = -weights.size * _share(spec.params_total_b, known)
        if weights.recency:
            span = max(dated) - min(dated) if dated else 0
            age = 1.0 if day is None else (max(dated) - day) / span if span else 0.0
            terms["recency"] = -weights.recency * age
        if weights.readability:
            terms["readability"] = -weights.readability * (1.0 - (spec.readability or 0.0))
        for name, price, key in (
            ("budget_cost", prices.per_usd, "cost_usd"),
            ("budget_energy", prices.per_j, "energy_j"),
            ("budget_ttft", prices.per_ttft_ms, "ttft_ms"),
        ):
            known = [one[key] for _, _, one in pool if one[key] is not None]
            if price:
                terms[name] = -price * _at_worst(amounts[key], known)
        out.append(terms)
    return out


def plain_select(
    assessment: Assessment, request: RouteRequest, view: PoolView
) -> tuple[list[str], Reason, dict[str, Refusal], dict[str, dict[str, float]], dict[str, tuple[Quality, dict]]]:
    """Names best first, the reason, who was barred and why, terms of the rest, estimates of all."""
    estimates = {spec.name: plain_estimates(spec, state, request, assessment) for spec, state in view.entries}
    barred, left = {}, []
    for spec, state in view.entries:
        quality, amounts = estimates[spec.name]
        refusal = plain_refusal(spec, state, request, quality.mean, amounts)
        if refusal is None:
            left.append((spec, quality, amounts))
        else:
            barred[spec.name] = refusal
    terms = dict(zip([spec.name for spec, _, _ in left], plain_terms(request, left), strict=True))

    def key(one: tuple[ExpertSpec, Quality, dict[str, float | None]]) -> tuple[float, float, float, int, str]:
        spec, quality, amounts = one
        cost = math.inf if amounts["cost_usd"] is None else amounts["cost_usd"]
        utility = 0.0
        for term in terms[spec.name].values():
            utility += term
        state = states[spec.name]
        return -utility, -quality.mean, cost, state.in_flight, state.recent_calls, spec.name

    states = {spec.name: state for spec, state in view.entries}

    ranked = sorted(left, key=key)
    reason = [Reason.INFEASIBLE, Reason.ONLY_CANDIDATE][len(ranked)] if len(ranked) < 2 else Reason.BEST_UTILITY
    weights = request.budget.weights
    prices = weights.latency + weights.energy + weights.cost + weights.size + weights.recency
    prices += weights.verbosity + weights.readability
    if assessment.classification.for_generalist and any(s.generalist for s, _, _ in ranked):
        first = {s.name for s, _, _ in ranked if s.generalist}
        if prices > weights.quality:
            paid = {name: one["quality"] - sum(one.values()) for name, one in terms.items()}
            bound = paid[next(s.name for s, _, _ in ranked if s.generalist)]
            first |= {name for name, amount in paid.items() if amount <= bound}
        if prices <= weights.quality or ranked[0][0].name not in first:
            reason = Reason.UNCERTAIN
        ranked.sort(key=lambda one: one[0].name not in first)
    return [spec.name for spec, _, _ in ranked], reason, barred, terms, estimates


def amounts_of(estimates: Estimates) -> dict[str, float | None]:
    """The amounts of `plain_estimates`, as a decision tells them."""
    names = ("completion_tokens", "ttft_ms", "latency_ms", "energy_j", "cost_usd")
    return {name + end: getattr(estimates, name + end) for name in names for end in ("", "_worst")}
