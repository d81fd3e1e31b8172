"""Conversations written by hand: what a topic begins with, turns that go on with it, and questions that leave it.

Nothing is trained on them. `TUNED` was looked at while the rules of `routers/conversation.py` and of
`routers/reading/follow_ups.py` were made; `HELD_OUT` was written after that and looked at once, for the figures of
docs/conversations.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """Openings of one topic, and follow-ups that make sense after any of them."""

    expert: str
    openings: tuple[str, ...]
    follow_ups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversations:
    """Topics, follow-ups for all of them, and new questions: each belongs where it would go alone."""

    topics: tuple[Topic, ...]
    any_topic: tuple[str, ...]
    new_questions: tuple[str, ...]


FIRST = Conversations(
    topics=(
        Topic(
            "nano-code",
            (
                "Write a Python function that reverses a linked list.",
                "Fix this loop: for (int i = 0; i <= n; i++) sum += a[i];",
                "How do I read a CSV file with pandas?",
                "用Python写一个函数def f(x):return x*2,并解释每一行代码的作用",
            ),
            (
                "and in Python 2?",
                "and in Rust?",
                "now add type hints and a docstring",
                "it does not work, I get an error",
                "can you make it recursive instead?",
                "what is the time complexity of this?",
                "what if the list is empty?",
            ),
        ),
        Topic(
            "nano-math",
            (
                "What is 17% of 240?",
                "A train travels 60 miles in 1.5 hours. What is its speed?",
                "Solve the equation 2x + 7 = 31 for x.",
            ),
            (
                "and 18%?",
                "the second step is wrong, check it again",
                "how did you get that?",
                "show me the steps",
                "and if it were twice as much?",
            ),
        ),
        Topic(
            "nano-clinical",
            (
                "Does aspirin reduce the risk of stroke in elderly patients?",
                "What are the side effects of lisinopril?",
                "is metformin safe in renal failure?",
            ),
            (
                "what about women?",
                "and for patients over 80?",
                "is that also true for children?",
                "how strong is the evidence for that?",
                "and what is the usual dose?",
            ),
        ),
        Topic(
            "nano-prose",
            (
                "Shall I compare thee to a summer's day?",
                "write a sonnet about the sea",
                "Write a monologue for a king who has lost his throne.",
            ),
            (
                "can you make the last line rhyme with the first?",
                "now a sadder one",
                "add another verse",
                "give it a title",
                "and from the queen's point of view?",
            ),
        ),
    ),
    any_topic=(
        "why?",
        "continue",
        "thanks",
        "ok",
        "make it shorter",
        "can you explain that in more detail please?",
        "give me another example",
        "are you sure?",
        "great, thank you so much for your help!",
        "go on",
        "Could you rewrite it so that it is easier to read?",
        "please translate that into German",
        "what do you mean by that?",
        "¿por qué?",
        "und warum?",
        "继续",
        "为什么？",
        "もっと短くして",
        "encore un exemple",
    ),
    new_questions=(
        "What is the capital of France?",
        "Book a table for two in Rome tomorrow evening.",
        "Tell me a joke about cats.",
        "What's the weather in Oslo tomorrow?",
        "Who painted the Mona Lisa?",
        "Recommend a good film for tonight.",
        "How do I get a visa for Japan?",
        "when was the French Revolution?",
        "what time is it in Tokyo?",
        "is it going to rain tomorrow?",
        "set an alarm for 6 am",
        "how do I unclog a kitchen sink?",
        "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?",
        "Now write a bash script that counts the lines of all files in a folder.",
        "def f(x):return[x*2for(x)in(range(10))]",
        "用Python写一个函数def f(x):return x*2,并解释每一行代码的作用",
        "what is the recommended dose of amoxicillin for a child",
        "Now is the winter of our discontent",
    ),
)

SECOND = Conversations(
    topics=(
        Topic(
            "nano-code",
            (
                "write a decorator that logs the arguments of a function",
                "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
                "SELECT * FROM orders WHERE total > 100;",
                "Schreibe eine Python-Funktion, die def main(): aufruft und eine Liste zurueckgibt: return list(reversed(x))",  # noqa: E501
            ),
            (
                "and in Go?",
                "do the same with a while loop",
                "why does that happen?",
                "could this be faster?",
                "and how would I test that?",
                "still the same error",
                "without any library please",
            ),
        ),
        Topic(
            "nano-math",
            (
                "find x when 5x - 3 = 22",
                "Emma is twice as old as her brother, who is 9. How old will she be in 4 years?",
                "what percentage of 80 is 20",
            ),
            (
                "and 30?",
                "is there another way to solve it?",
                "I don't understand the last step",
                "check your result",
                "what if she were three years older?",
            ),
        ),
        Topic(
            "nano-clinical",
            (
                "can diabetics take prednisone",
                "Does early mobilization improve outcomes after stroke?",
                "what are early signs of parkinson's disease",
            ),
            (
                "and during pregnancy?",
                "what about men?",
                "for how long?",
                "are there any studies on this?",
                "which of these is the most common?",
            ),
        ),
        Topic(
            "nano-prose",
            (
                "write a eulogy for an old sailor",
                "compose four lines of blank verse about a storm",
                "Where is thy mercy, tyrant? Hast thou none?",
            ),
            (
                "make the ending happier",
                "the same, but about the moon",
                "once more, with shorter lines",
                "now in the style of Milton",
                "I don't like the second line",
            ),
        ),
    ),
    any_topic=(
        "how come?",
        "keep going",
        "thx",
        "yes",
        "no, the other one",
        "in simpler words please",
        "what does that mean?",
        "that's perfect, thanks a lot",
        "can you summarise this in one sentence?",
        "try again",
        "I am not convinced. Could you double-check your answer?",
        "explain it to me like I'm five",
        "pourquoi ?",
        "y en inglés?",
        "mach weiter",
        "なぜですか？",
        "谢谢",
        "объясни подробнее",
    ),
    new_questions=(
        "how tall is Mount Everest?",
        "what's my account balance?",
        "who is the prime minister of Japan?",
        "add milk to my shopping list",
        "what movies are playing tonight?",
        "Which planet is the largest in the solar system?",
        "how do you say thank you in Japanese",
        "what should I cook for dinner",
        "can you recommend a hotel in Paris",
        "how many calories are in a banana",
        "I need to report a lost credit card",
        "what is the exchange rate for euros",
        "why is the sky blue?",
        "A bank pays 4% interest per year. How much interest on $500 after 2 years?",
        "const x=await fetch(url);const y=await x.json();",
        "is ultrasound reliable for diagnosing appendicitis in children",
        "give me a love poem in iambic pentameter",
        "how do I remove whitespace from both ends of a string in python",
    ),
)

THIRD = Conversations(
    topics=(
        Topic(
            "nano-code",
            (
                "implement binary search",
                "javascript function to debounce an event handler",
                "docker build fails with permission denied",
            ),
            (
                "add comments",
                "rename the variable to total",
                "handle negative numbers too",
                "use a dictionary",
                "what are the edge cases?",
                "shorter please",
                "who wrote this library?",
                "now as a one-liner",
            ),
        ),
        Topic(
            "nano-math",
            (
                "how much is 15 times 23?",
                "A box holds 24 pens. How many pens are in 17 boxes?",
                "limit of sin(x)/x as x goes to 0",
            ),
            (
                "show your work",
                "as a fraction?",
                "round to two decimals",
                "that is not what I get",
                "how many are left over?",
                "prove it",
            ),
        ),
        Topic(
            "nano-clinical",
            (
                "can I take ibuprofen together with warfarin?",
                "how is type 2 diabetes diagnosed",
                "treatment of migraine during pregnancy",
            ),
            (
                "what are the alternatives?",
                "how long does it take to work?",
                "any side effects?",
                "should I see a doctor?",
                "and with food?",
            ),
        ),
        Topic(
            "nano-prose",
            (
                "Once upon a midnight dreary, while I pondered, weak and weary",
                "O, what a rogue and peasant slave am I!",
            ),
            (
                "what happens next?",
                "who is speaking here?",
                "less gloomy",
                "put it in modern English",
            ),
        ),
    ),
    any_topic=(
        "hmm",
        "really?",
        "got it",
        "never mind, leave it as it was",
        "can you say that more simply?",
        "one more time",
        "what else?",
        "and then?",
        "where did you find this?",
        "tell me more",
        "too long",
        "genauer bitte",
        "más corto",
        "non ho capito",
        "不对",
        "أعد المحاولة",
        "다시 설명해 줘",
    ),
    new_questions=(
        "Which country won the most gold medals in Tokyo?",
        "what's the best way to get from Paris to Lyon?",
        "how old is the universe?",
        "play some music by Miles Davis",
        "is the supermarket open on Sunday?",
        "how much does a new passport cost?",
        "what should I name my dog?",
        "why do cats purr?",
        "order a pizza with mushrooms",
        "Who was the first person on the moon?",
        "In a class of 28 students, 3/7 are boys. How many girls are there?",
        "write a unit test for my parser class",
        "what does a high creatinine level mean",
        "for(let i=0;i<n;i++){console.log(a[i])}",
        "KING HENRY: What treachery is this, my lord of York?",
        "請用JavaScript寫const f=(a,b)=>a+b;return f(1,2)並說明",
    ),
)

TUNED = (FIRST, SECOND, THIRD)

HELD_OUT = (
    Conversations(
        topics=(
            Topic(
                "nano-code",
                (
                    "how can I sort objects by an attribute in Java",
                    "parse the command line with argparse and print the file name",
                    "why do I get IndexError: list index out of range here?",
                ),
                (
                    "and in TypeScript?",
                    "does this work with generators?",
                    "now without recursion",
                    "please use snake_case names",
                    "what does the second line do?",
                    "I get a syntax error now",
                ),
            ),
            Topic(
                "nano-math",
                (
                    "solve 2x + 7 = 31",
                    "Lisa reads 20 pages a day. How long does a 340 page book take her?",
                    "find the derivative of 3x^2 + 2x",
                ),
                (
                    "and for x^3?",
                    "that looks wrong",
                    "how did you get 12?",
                    "give the answer as a decimal",
                    "what if she reads twice as fast?",
                ),
            ),
            Topic(
                "nano-clinical",
                (
                    "risk factors for deep vein thrombosis",
                    "Are statins effective in primary prevention?",
                    "how to treat a second degree burn",
                ),
                (
                    "and in smokers?",
                    "is it hereditary?",
                    "how common is that?",
                    "what do the guidelines say?",
                    "could it be something else?",
                ),
            ),
            Topic(
                "nano-prose",
                ("Alas, poor Yorick! I knew him, Horatio.", "write the opening of a tragedy"),
                ("longer please", "make her angrier", "who says this?", "and the next scene?"),
            ),
        ),
        any_topic=(
            "nice",
            "why not?",
            "what?",
            "please go on",
            "thank you, that helped",
            "could you be more specific?",
            "rephrase that",
            "I don't get it",
            "summarize your answer",
            "is that all?",
            "wirklich?",
            "explícalo otra vez",
            "merci beaucoup",
            "続けてください",
            "谢谢你",
        ),
        new_questions=(
            "What is the population of Brazil?",
            "remind me to water the plants tonight",
            "who invented the telephone?",
            "what's a good name for a cat?",
            "how far is Vienna from Prague?",
            "find me a cheap flight to Madrid",
            "when does the post office open?",
            "what is the difference between a crocodile and an alligator?",
            "suggest a birthday present for my sister",
            "how do I remove a red wine stain?",
            "Which language is spoken in Brazil?",
            "John saves $15 a week. After how many weeks does he have $180?",
            "what are the side effects of lisinopril",
            "x=[i**2for(i)in(range(5))];print(sum(x))",
            "rename all .txt files in a folder with a script",
            "编写SQL:SELECT*FROM(t)WHERE(id=5);然后解释",
        ),
    ),
)
