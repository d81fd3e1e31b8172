"""Draw docs/pictures (`make reference`): what it is, its packages, a request, the two stages, budgets and prices."""

from __future__ import annotations

import math

from drawing import Drawing


def overview() -> str:
    """What Pointsman is, for the first page."""
    picture = Drawing(900, 300, "A client asks for the model auto; Pointsman chooses one of several experts")
    picture.box(20, 95, 190, 110)
    picture.lines(40, 130, "Your application", "title")
    picture.lines(40, 158, 'model: "auto"\nat most 5 joules', "small")
    picture.box(320, 60, 240, 180, "mark")
    picture.text(340, 95, "Pointsman", "title")
    picture.lines(340, 125, "reads the prompt\npredicts who does well\nkeeps to the budget\nsays why", "", 27)
    picture.arrow(210, 150, 318, 150, "strong")
    picture.text(264, 140, "prompt", "small mid")
    experts = [(25, "small", "good enough, 2 joules", True), (115, "code", "knows no such prompts", False)]
    experts.append((205, "large", "best, 80 joules", False))
    for y, name, says, chosen in experts:
        picture.box(670, y, 210, 70, "mark" if chosen else "box")
        picture.text(688, y + 29, name, "title")
        picture.text(688, y + 54, says, "small")
        picture.arrow(560, 150, 668, y + 35, "strong" if chosen else "dashed")
    return picture.svg()


def packages() -> str:
    """Who imports whom."""
    picture = Drawing(820, 430, "Packages: gateway and evals import routers, routers import experts, never back")
    boxes = [
        (40, 40, "gateway", "HTTP in, HTTP out:\naccess, decide, dispatch, record", "box"),
        (430, 40, "evals", "tables of real outcomes:\nreplay, metrics, training, reports", "box"),
        (235, 180, "routers", "the decision: a pure function\nno network, no clock, no chance", "mark"),
        (235, 310, "experts", "the models one may call:\nwhat they are, how to reach them", "box"),
    ]
    for x, y, name, says, kind in boxes:
        picture.box(x, y, 350, 84, kind)
        picture.text(x + 16, y + 26, name, "title code")
        picture.lines(x + 16, y + 48, says, "small", 18)
    picture.arrow(260, 124, 330, 178)
    picture.arrow(560, 124, 490, 178)
    picture.arrow(410, 264, 410, 308)
    picture.text(424, 291, "plain data only", "small")
    picture.path([(90, 124), (90, 352), (233, 352)], tip=True)
    picture.text(102, 340, "calls experts", "small")
    picture.path([(760, 124), (760, 352), (587, 352)], tip=True)
    picture.text(600, 340, "their data and pool", "small")
    picture.text(
        410,
        417,
        "An arrow means “imports”. Nothing imports upwards, and gateway and evals do not know each other.",
        "small mid",
    )
    return picture.svg()


def request() -> str:
    """The way of one request through the folders of the gateway."""
    picture = Drawing(1000, 620, "The way of a request: http, access, deciding, routers, dispatch, expert, record")
    picture.box(20, 40, 110, 540)
    picture.text(75, 66, "client", "title mid")
    picture.box(870, 40, 110, 540)
    picture.text(925, 66, "experts", "title mid")
    steps = [
        ("http/", "reads the head and the body", "a body too large, or packed wrongly, is refused here"),
        ("access/", "knows the caller by its key", "a wrong key is refused here; limits are held"),
        ("wire/", "reads the JSON of the API", "a malformed field is refused here, by its name"),
        ("deciding/", "asks the router, waits for room", "an expert is chosen here: routers/, stages 1 and 2"),
        ("dispatch/", "calls the expert, then its fallbacks", "a stream is relayed here, event by event"),
        ("record/", "writes down what became of it", "a joule is counted here, also a dollar and a token"),
    ]
    for number, (name, does, here) in enumerate(steps):
        y = 40 + number * 92
        picture.box(230, y, 540, 74, "mark" if name in {"deciding/", "dispatch/"} else "box")
        picture.text(248, y + 28, name, "title code")
        picture.text(360, y + 28, does)
        picture.text(360, y + 54, here, "small")
        if number:
            picture.arrow(500, y - 18, 500, y - 1)
    picture.arrow(130, 77, 229, 77)
    picture.text(180, 68, "request", "small mid")
    for number, status in ((1, "401, 403, 429"), (2, "400"), (3, "404, 422, 503")):
        y = 92 + number * 92
        picture.arrow(229, y, 132, y, "dashed")
        picture.text(180, y - 8, status, "small mid bad")
    picture.arrow(229, 110, 132, 110, "dashed")
    picture.text(180, 103, "413, 415", "small mid bad")
    picture.arrow(229, 426, 132, 426, "dashed")
    picture.text(180, 419, "502, 504", "small mid bad")
    picture.arrow(770, 430, 868, 430)
    picture.text(819, 421, "call", "small mid")
    picture.arrow(869, 462, 772, 462, "strong")
    picture.text(819, 482, "stream", "small mid")
    picture.arrow(229, 462, 132, 462, "strong")
    picture.text(180, 482, "stream", "small mid")
    return picture.svg()


def stages() -> str:
    """The two stages, with their formulas."""
    picture = Drawing(1000, 590, "Stage 1 reads the prompt; stage 2 filters, prices and ranks the experts")
    picture.box(20, 20, 960, 235)
    picture.text(40, 50, "Stage 1: what is this prompt, and who would do well on it?", "title")
    picture.text(960, 50, "depends on the prompt alone: cached", "small end")
    first = [
        (40, 80, 170, 150, "embed", "the text as a vector", "x"),
        (250, 80, 210, 150, "category", "how likely is each one?", "p(c | x)"),
        (520, 80, 440, 68, "quality", "one head for each expert", "q̂ₑ(x, p)"),
        (520, 162, 440, 68, "certainty", "unsure above a threshold", "H = −Σ p ln p"),
    ]
    for x, y, width, height, name, does, formula in first:
        picture.box(x, y, width, height, "mark")
        picture.text(x + 14, y + 28, name, "title")
        picture.text(x + 14, y + 52, does, "small")
        if width > height * 3:
            picture.text(x + 260, y + 40, formula, "formula")
        else:
            picture.text(x + 14, y + 110, formula, "formula")
    picture.arrow(210, 155, 248, 155)
    picture.arrow(460, 130, 518, 116)
    picture.arrow(460, 180, 518, 194)
    picture.box(20, 300, 960, 270)
    picture.text(40, 330, "Stage 2: who may answer, and who should?", "title")
    picture.text(960, 330, "depends on budget, load and health: computed each time", "small end")
    second = [
        (40, 205, "estimate", "what would each take?", "tokens, ms, J, $"),
        (270, 225, "filter", "a cap: the worst case counts", "worst Eₑ ≤ cap"),
        (515, 255, "price", "a weight: quality minus prices", "Uₑ = λ q̂ₑ − Σ λⱼ cₑⱼ − μ · aₑ"),
        (790, 170, "rank", "the highest utility", "e* = arg max Uₑ"),
    ]
    for x, width, name, does, formula in second:
        picture.box(x, 350, width, 130, "mark")
        picture.text(x + 14, 378, name, "title")
        picture.text(x + 14, 404, does, "small")
        picture.text(x + 14, 452, formula, "formula")
    for x in (245, 495, 770):
        picture.arrow(x, 415, x + 20, 415)
    picture.arrow(500, 256, 500, 299)
    picture.text(514, 283, "assessment", "small")
    picture.lines(
        40,
        508,
        "λ: the caller’s weights; c: each amount as a share of the largest\n"
        "μ: the prices of average budgets; a: the amounts themselves\n"
        "If stage 1 is unsure, the prompt goes to a generalist that may answer.",
        "small",
    )
    return picture.svg()


def budgets() -> str:
    """A cap is a filter, a weight is a price, an average budget is a price that moves."""
    picture = Drawing(1000, 400, "A cap filters, a weight prices, an average budget is a price that moves")
    _cap(picture, 20)
    _weight(picture, 350)
    _average(picture, 680)
    picture.text(500, 388, "Drawn to explain, not measured.", "small mid")
    return picture.svg()


def _cap(picture: Drawing, left: float) -> None:
    picture.box(left, 20, 300, 345)
    picture.text(left + 16, 48, "A cap is a filter", "title")
    picture.text(left + 16, 72, "the worst case of a call, in joules", "small")
    for number, (name, height) in enumerate((("A", 90), ("B", 60), ("C", 150), ("D", 200))):
        x = left + 30 + number * 64
        picture.bar(x, 310 - height, 40, height, "fill-bad" if height > 120 else "fill-good")
        picture.text(x + 20, 332, name, "mid")
    picture.path([(left + 16, 190), (left + 284, 190)], "cap")
    picture.text(left + 20, 184, "max_energy_j", "code")
    picture.text(left + 16, 354, "C and D may not answer at all.", "small")


def _weight(picture: Drawing, left: float) -> None:
    picture.box(left, 20, 300, 345)
    picture.text(left + 16, 48, "A weight is a price", "title")
    picture.text(left + 16, 72, "utility = quality − weight × cost", "small")
    for number, (name, quality, price) in enumerate((("A", 170, 20), ("B", 190, 95))):
        x = left + 60 + number * 110
        picture.bar(x, 310 - quality + price, 50, quality - price, "fill-good")
        picture.bar(x, 310 - quality, 50, price, "fill-bad")
        picture.text(x + 25, 332, name, "mid")
        picture.text(x + 56, 310 - quality + price / 2 + 5, "price", "small")
    picture.text(left + 16, 354, "B is better, A is worth more: A answers.", "small")


def _average(picture: Drawing, left: float) -> None:
    picture.box(left, 20, 300, 345)
    picture.text(left + 16, 48, "Average: a price that moves", "title")
    picture.text(left + 16, 72, "joules per request, over time", "small")
    picture.path([(left + 16, 150), (left + 284, 150)], "cap")
    picture.text(left + 184, 143, "allowed", "small")
    steps = range(0, 265, 4)
    spent = [(left + 18 + step, 150 - 55 * math.exp(-step / 60) * math.cos(step / 40)) for step in steps]
    picture.path(spent, "strong")
    picture.text(left + 16, 232, "its price in quality", "small")
    price = [
        (left + 18 + step, 318 - 60 * (1 - math.exp(-step / 70) * (1 + math.sin(step / 40) * 0.4))) for step in steps
    ]
    picture.path(price, "strong")
    picture.path([(left + 16, 320), (left + 284, 320)])
    picture.text(left + 16, 354, "Too much is spent: the price rises.", "small")


def pictures() -> dict[str, str]:
    """File name -> SVG."""
    return {f"{draw.__name__}.svg": draw() for draw in (overview, packages, request, stages, budgets)}
