"""Prompts that the target answers to make the text a draft is distilled on; composed, not collected.

Templates meet topics by seeded draws, over six kinds of work. The held-out prompts are written one by one,
share no template with the composed ones and are never trained on.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("chat", "code", "maths", "summary", "translation", "qa")


@dataclass(frozen=True)
class TrainingPrompt:
    """One user turn; `kind` is one of KINDS."""

    kind: str
    text: str


def training_prompts(seed: int, start: int, count: int) -> list[TrainingPrompt]:
    """Prompts `start` to `start + count - 1` of the endless sequence that `seed` names; kinds take turns.

    Each prompt depends on the seed and its own place alone, so any slice can be made again later.
    """
    return [_compose(seed, place) for place in range(start, start + count)]


def held_out_prompts() -> list[TrainingPrompt]:
    """The prompts agreement is measured on, every kind equally often."""
    return [TrainingPrompt(kind, text) for kind in KINDS for text in _HELD_OUT[kind]]


def _compose(seed: int, place: int) -> TrainingPrompt:
    kind = KINDS[place % len(KINDS)]
    # Seeding with a string hashes it with SHA-512: the same on every machine and in every Python.
    return TrainingPrompt(kind, _COMPOSERS[kind](random.Random(f"{seed}:{place}")))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _blocks(text: str) -> list[list[str]]:
    return [_lines(block) for block in text.split("===")]


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.replace("\n", " ").split("|")]


# ---------------------------------------------------------------------------------------------------- topics

_TOPICS = _items("""
solar panels | coral reefs | the water cycle | black holes | photosynthesis | the Roman Empire | jazz music
| volcanoes | electric cars | bees | the stock market | climate change | vaccines | the human heart | sleep
| earthquakes | chess | coffee | tea | bread | the printing press | the moon | the Sahara desert
| rainforests | glaciers | submarines | bicycles | bridges | lighthouses | robots | artificial intelligence
| neural networks | encryption | the internet | databases | operating systems | batteries | nuclear energy
| wind turbines | hydroelectric dams | recycling | compost | gardening | houseplants | origami | pottery
| photography | painting | sculpture | opera | ballet | theatre | poetry | science fiction
| detective novels | fairy tales | mythology | ancient Egypt | the Silk Road | the Vikings | samurai
| the Renaissance | the Industrial Revolution | the French Revolution | the space race | the Olympics
| football | tennis | swimming | marathon running | yoga | meditation | hiking | camping | rock climbing
| sailing | fishing | cooking pasta | baking cakes | making cheese | sushi | curry | chocolate | olive oil
| honey | spices | nutrition | vitamins | protein | diabetes | allergies | the immune system | the brain
| memory | dreams | stress | anxiety | friendship | teamwork | leadership | public speaking
| time management | budgeting | saving money | credit cards | mortgages | insurance | inflation
| supply and demand | taxes | small businesses | marketing | customer service | remote work | job interviews
| resumes | studying for exams | learning a language | reading habits | note taking | mathematics
| probability | statistics | geometry | calculus | prime numbers | gravity | magnetism | electricity | light
| sound | heat | atoms | molecules | DNA | evolution | dinosaurs | fossils | whales | dolphins | elephants
| wolves | owls | penguins | butterflies | spiders | ants | snakes | cats | dogs | horses | rabbits
| parrots | sharks | octopuses | rivers | oceans | mountains | islands | deserts | forests | wetlands
| tides | hurricanes | tornadoes | rainbows | snow | clouds | seasons | comets | Mars | Jupiter | the Sun
| galaxies | telescopes | satellites | rockets | airplanes | trains | ships | subways | traffic lights
| elevators | skyscrapers | castles | pyramids | museums | libraries | newspapers | radio | television
| cinema | video games | board games | card games | crossword puzzles | toys | fashion | shoes | silk
| cotton | wool | leather | glass | steel | concrete | paper | plastic | gold | silver | diamonds | salt
| sugar | rice | wheat | corn | potatoes | tomatoes | apples | bananas | oranges | grapes | mushrooms
| garlic | onions | farming | irrigation | beekeeping | forestry | mining | fishing boats | wine making
| democracy | human rights | the United Nations | voting | courts of law | the police | firefighters
| nurses | teachers | engineers | architects | astronauts | pilots | sailors | musicians | guitars | pianos
| violins | drums | choirs | dance | festivals | birthdays | weddings | holidays | gift giving
| table manners | social media | smartphones | passwords | email | spreadsheets | cloud computing
| open source software | programming | algorithms | data privacy | self-driving cars | drones | 3D printing
| virtual reality | microscopes | thermometers | clocks | calendars | maps | compasses | money | coins
| stamps | languages | alphabets | handwriting | dictionaries | proverbs | humour | kindness | patience
| curiosity | creativity | honesty | courage | happiness | silence | colours | perfume | soap | teeth
| eyesight | hearing | bones | muscles | blood | skin | breathing | exercise | walking | cycling to work
| air pollution | drinking water | deforestation | endangered species | national parks | zoos | aquariums
| volunteering | charity | immigration | tourism | travelling alone | road trips | packing a suitcase
| hotels | restaurants | street food | coffee shops | supermarkets | online shopping | second-hand clothes
| furniture | carpentry | plumbing | home repair | painting a room | cleaning the kitchen | laundry
""")
_ACTIVITIES = _items("""
bake a loaf of bread | change a bicycle tire | learn to play the guitar | write a short story
| start a vegetable garden | train for a marathon | prepare for a job interview | save money each month
| learn Spanish | get better at chess | take good photographs | make a simple website | fix a leaking tap
| paint a wall | plan a birthday party | pack for a trip | fall asleep faster | eat more vegetables
| read more books | write a thank-you note | give a speech | calm a crying baby | teach a dog to sit
| choose a laptop | clean a cast-iron pan | brew a good cup of coffee | grow tomatoes on a balcony
| organise a desk | stop procrastinating | make new friends | apologise to a colleague | ask for a pay rise
| learn to swim | build a bookshelf | sew a button | iron a shirt | make pancakes | cook rice | boil eggs
| roast a chicken | make a salad dressing | plan a week of meals | set up a home office | back up a computer
| protect an online account | start a small business | write a business plan | find a mentor | run a meeting
| give feedback | negotiate a price | study for an exam | memorise a poem | solve a Rubik's cube
| draw a face | fold a paper crane | knit a scarf | take care of a cat | keep a fish tank clean
| compost kitchen waste | save electricity at home | reduce plastic waste | plan a road trip
| travel on a small budget | learn to drive | parallel park | jump-start a car | check tire pressure
| stay motivated | deal with stress | improve posture | stretch after running | meditate for ten minutes
| drink more water | wake up early | keep a diary | write a cover letter | design a poster | edit a video
| record a podcast | start a blog | learn to code | debug a program | ask a good question | read a map
| tie a bow tie | whistle | juggle three balls
""")
_ROLES = _items("""
a teacher | a nurse | a farmer | a pilot | a chef | a software engineer | a shop owner | a student
| a grandmother | a musician | a carpenter | a doctor | a journalist | a librarian | an architect
| a bus driver | a scientist | a lawyer | a gardener | a fisherman | a photographer | a detective
| an astronaut | a firefighter | a painter | a baker | a mechanic | a tour guide | a coach | a young wizard
| a lonely robot | a talking cat | a retired sailor | a new manager
""")
_AUDIENCES = _items("""
a child | a beginner | a five-year-old | a high school student | a busy parent | an expert | a friend
| a new employee | my grandmother | a class of students | someone who has never heard of it | a tourist
""")
_NAMES = _items("""
Anna | Ben | Carla | David | Emma | Felix | Grace | Henry | Isabel | Jack | Karen | Liam | Maria | Noah
| Olivia | Peter | Quinn | Rosa | Sam | Tina | Umar | Vera | Will | Yara | Zoe | Ahmed | Bella | Chen
| Diego | Elena | Fatima | George | Hana | Ivan | Julia | Kofi | Lucy | Mei | Nadia | Oscar | Priya | Rafael
| Sofia | Tom | Sarah | John | Mark | Lily
""")
_PLACES = _items("""
Paris | Tokyo | Cairo | London | New York | Sydney | Rome | Berlin | Madrid | Lisbon | Istanbul | Mumbai
| Beijing | Seoul | Toronto | Mexico City | Rio de Janeiro | Buenos Aires | Cape Town | Nairobi | Athens
| Vienna | Oslo | Dublin | Iceland | Norway | Japan | Brazil | Canada | Kenya | India | Peru | Morocco
| Vietnam | Italy | Greece | New Zealand
""")
_ADJECTIVES = _items("""
short | funny | simple | detailed | friendly | formal | cheerful | sad | inspiring | clear | two-sentence
| polite
""")

# ------------------------------------------------------------------------------------------------------ chat

_CHAT = _lines("""
What is the best way to {activity}?
How do I {activity}?
Can you explain how to {activity}, step by step?
Give me five tips to {activity}.
I want to {activity}, but I don't know where to begin. What should I do?
My friend wants to {activity}. What would you suggest?
What mistakes should I avoid when I {activity}?
What do I need in order to {activity}?
Make a checklist for someone who wants to {activity}.
How long does it take to {activity}?
Tell me about {topic}.
Tell me something interesting about {topic}.
Explain {topic} to {audience}.
Why are people interested in {topic}?
What are the main facts about {topic}?
What are the advantages and disadvantages of {topic}?
Write a {adjective} paragraph about {topic}.
Write a {adjective} poem about {topic}.
Write a {adjective} story about {role} and {topic}.
Write a {adjective} story about {role} who travels to {place}.
Write a {adjective} email to {name} about {topic}.
Write a letter from {role} to {role2}.
Write a dialogue between {role} and {role2} about {topic}.
Write an introduction to an essay on {topic}.
List five facts about {topic}.
List ten words related to {topic}.
List three questions that {role} might ask about {topic}.
Compare {topic} and {topic2}.
What is the difference between {topic} and {topic2}?
How is {topic} connected to {topic2}?
What is the history of {topic}?
How has {topic} changed over the last century?
Why is {topic} important?
How does {topic} affect everyday life?
What should {role} know about {topic}?
Suggest a title for a book about {topic} and describe its plot.
Suggest three activities for a class about {topic}.
Plan a weekend in {place} for {role}.
What should I see in {place}?
What is {place} famous for?
What food should I try in {place}?
Describe a day in the life of {role}.
Describe {place} in the spring.
Imagine you are {role}. What do you think about {topic}?
Pretend to be {role} and introduce yourself.
Hi! Can we talk about {topic}?
Hello, my name is {name}. I like {topic}. What do you like about it?
I am bored. Tell me a {adjective} joke about {topic}.
I feel nervous about {topic}. Can you help?
Give me a {adjective} definition of {topic}.
What is a good hobby for someone who likes {topic}?
Which books should I read about {topic}?
Is it true that {topic} can be dangerous? Explain.
What would the world be like without {topic}?
Make a short quiz on {topic} with answers.
Write a slogan and a {adjective} advertisement for {topic}.
Give advice to {role} about {topic}.
Debate: should schools teach {topic}? Give both sides.
Write a product review by {name} about something to do with {topic}.
Write a diary entry by {name}, {role}, in {place}.
""")


def _chat(draw: random.Random) -> str:
    topic, topic2 = draw.sample(_TOPICS, 2)
    role, role2 = draw.sample(_ROLES, 2)
    text = draw.choice(_CHAT).format(
        topic=topic,
        topic2=topic2,
        role=role,
        role2=role2,
        activity=draw.choice(_ACTIVITIES),
        audience=draw.choice(_AUDIENCES),
        name=draw.choice(_NAMES),
        place=draw.choice(_PLACES),
        adjective=draw.choice(_ADJECTIVES),
    )
    endings = [
        "",
        "",
        "",
        "",
        "",
        " Keep it short.",
        " Be brief.",
        " Give an example.",
        " Please be specific.",
    ]
    return text + draw.choice(endings)


# ------------------------------------------------------------------------------------------------------ code

_LANGUAGES = _items("""
Python | Python | Python | Python | Python | JavaScript | JavaScript | Java | C | C++ | Go | Rust
| TypeScript | SQL | Bash
""")
_CODE_TASKS = _items("""
reverses a string | checks whether a word is a palindrome | counts the vowels in a string
| finds the largest number in a list | finds the smallest element of an array | computes the factorial of n
| returns the n-th Fibonacci number | checks whether a number is prime | lists all primes below n
| sorts a list of numbers | sorts names by their length | removes duplicates from a list
| merges two sorted lists | counts how often each word occurs in a text | reads a file and prints its lines
| writes a list of names to a file | converts Celsius to Fahrenheit | converts miles to kilometres
| computes the average of a list | computes the median of a list | sums the digits of a number
| checks whether a year is a leap year | finds the greatest common divisor of two numbers
| flattens a nested list | rotates a list by k places | implements binary search | implements bubble sort
| implements quicksort | implements a stack | implements a queue | implements a linked list
| traverses a binary tree | finds the depth of a binary tree | multiplies two matrices | transposes a matrix
| checks whether two strings are anagrams | capitalises every word | removes all spaces from a string
| replaces every comma with a semicolon | validates an email address | generates a random password
| rolls two dice and prints the sum | simulates a coin toss | prints a multiplication table
| prints a triangle of stars | counts down from ten | asks the user for a name and greets them
| parses a JSON document | reads a CSV file and prints one column | downloads a web page
| counts the files in a folder | renames all files in a folder | measures how long a function takes
| caches the results of a function | finds the second largest number in a list
| groups words by their first letter | finds the longest word in a sentence
| checks whether brackets are balanced | converts a number to binary
| converts a Roman numeral to an integer | computes compound interest | splits a list into chunks
| zips two lists into a dictionary | inverts a dictionary | finds the common elements of two lists
| shuffles a deck of cards | draws a bar chart | computes the distance between two points
| finds all pairs that add up to a target | counts the islands in a grid
| finds the shortest path in a graph | evaluates an arithmetic expression | stores contacts in a phone book
| keeps the score of a game | plays rock, paper, scissors | guesses a number | keeps a to-do list
| tracks the balance of a bank account | models a car with speed and colour | models a library of books
| selects all customers from one city | joins orders with customers | counts orders for each month
| deletes old rows | prints the current date | computes the age from a birth date
| waits five seconds and prints a message | checks whether a string contains only digits
| encrypts a text with a Caesar cipher | computes the power of a number
| finds missing numbers in a sequence | computes a running total | removes empty lines from a text
| counts lines of code | prints the alphabet | swaps two variables | finds the mode of a list
| rounds prices to two decimals | pads a string with zeros
""")
_CODE = _lines("""
Write a {language} function that {task}.
Write a {language} program that {task}.
Write a short {language} script that {task}.
How do I write {language} code that {task}?
Show me {language} code that {task}, and explain it.
I need a {language} function that {task}. Please add comments.
Give an example in {language} of a function that {task}.
Implement a {language} function that {task}, with an example of its use.
Write a {language} class that {task}.
Write a unit test for a {language} function that {task}.
Explain, step by step, how a function that {task} works in {language}.
Complete this in {language}: a function named {function} that {task}.
Write pseudocode for a program that {task}.
What is the time complexity of an algorithm that {task}? Show {language} code.
Rewrite this idea as {language} code: the program {task}.
Using only the standard library of {language}, write something that {task}.
""")
_CODE_WORDS = _items("""
a variable | a loop | a function | recursion | a class | an object | inheritance | an exception | a pointer
| an array | a dictionary | a hash table | a linked list | a binary tree | a stack | a queue | a thread
| a lock | a database index | a foreign key | a regular expression | a compiler | an interpreter
| a unit test | version control | an API | a web server | a callback | a generator | a list comprehension
| a lambda function | type hints | a module | a package
""")
_CODE_TALK = _lines("""
What is {word} in {language}?
Explain {word} in {language} with an example.
When should I use {word}, and when {word2}?
What is the difference between {word} and {word2} in {language}?
Give a simple example of {word} in {language}.
My {language} program has a bug in {word}. How can I find it?
""")
_SNIPPETS = [
    "def f(x):\n    return x * {a} + {b}\n\nprint(f({c}))",
    "total = 0\nfor i in range({a}):\n    total += i\nprint(total)",
    "def {function}(items):\n    result = []\n    for item in items:\n        if item > {a}:\n"
    "            result.append(item)\n    return result",
    "x = [{a}, {b}, {c}]\nx.sort()\nprint(x[0])",
    "def {function}(n):\n    if n <= 1:\n        return 1\n    return n * {function}(n - 1)",
    "words = text.split()\ncounts = {{}}\nfor word in words:\n    counts[word] = counts.get(word, 0) + 1",
    "class Counter:\n    def __init__(self):"
    "\n        self.value = {a}\n\n    def add(self, n):\n        self.value += n",
    "while n > {a}:\n    n = n - {b}\nprint(n)",
    "function {function}(a, b) {{\n  return a + b * {a};\n}}\nconsole.log({function}({b}, {c}));",
    "SELECT name, price FROM products WHERE price > {a} ORDER BY price;",
    "with open('data.txt') as f:\n    lines = f.readlines()\nprint(len(lines) + {a})",
    "numbers = [n for n in range({a}) if n % {b} == 0]",
    "int sum = 0;\nfor (int i = 0; i < {a}; i++) {{\n    sum += i * {b};\n}}",
]
_SNIPPET_ASKS = _lines("""
What does this code do?
Explain this code line by line.
Is there a bug in this code?
Rewrite this code so that it is easier to read.
Add comments to this code.
Write a test for this code.
What does this print?
Translate this code to {language}.
Make this code faster.
""")
_FUNCTIONS = _items("""
process | compute | convert | find_item | check | make_list | transform | select_rows | run_task
| count_items | solve
""")


def _code(draw: random.Random) -> str:
    language = draw.choice(_LANGUAGES)
    shape = draw.random()
    if shape < 0.65:
        return draw.choice(_CODE).format(
            language=language, task=draw.choice(_CODE_TASKS), function=draw.choice(_FUNCTIONS)
        )
    if shape < 0.8:
        word, word2 = draw.sample(_CODE_WORDS, 2)
        return draw.choice(_CODE_TALK).format(word=word, word2=word2, language=language)
    a, b, c = (draw.randint(2, 50) for _ in range(3))
    code = draw.choice(_SNIPPETS).format(a=a, b=b, c=c, function=draw.choice(_FUNCTIONS))
    ask = draw.choice(_SNIPPET_ASKS).format(language=language)
    return f"{ask}\n\n{code}" if draw.random() < 0.7 else f"{code}\n\n{ask}"


# ----------------------------------------------------------------------------------------------------- maths

_THINGS = _items("""
apples | books | pencils | marbles | cookies | tickets | stamps | oranges | coins | flowers | chairs
| bottles | boxes | cards | eggs | shirts | balloons | candies | toy cars | stickers | cups | bricks | tiles
| seeds | photos
""")
_MATHS = _lines("""
{name} has {a} {thing} and buys {b} more. How many {thing} does {name} have now?
{name} has {a} {thing} and gives {b} to {name2}. How many are left?
{name} buys {b} {thing} for ${c} each. How much does {name} pay?
A box holds {b} {thing}. How many boxes are needed for {a} {thing}?
{name} reads {b} pages a day. How many days does it take to read {a} pages?
A car travels {a} miles in {b} hours. What is its average speed?
A train leaves at {b}:00 and travels at {a} km/h for {c} hours. How far does it go?
{name} earns ${b} an hour and works {c} hours. How much money is that?
What is {a} + {b}?
What is {a} * {b}? Show your work.
What is {a} - {b}?
What is {a} divided by {c}?
What is {c}% of {a}?
A shirt costs ${a} and is {c}% off. What is the new price?
Solve for x: {b}x + {c} = {a}.
Solve the equation x^2 - {c}x + {b} = 0.
Solve the system: x + y = {a} and x - y = {b}.
Find the area of a rectangle that is {a} cm long and {b} cm wide.
Find the perimeter of a square with a side of {b} m.
Find the area of a circle with a radius of {c}.
Find the volume of a cube with an edge of {c} cm.
A triangle has a base of {a} and a height of {b}. What is its area?
What is the average of {a}, {b} and {c}?
What is the greatest common divisor of {a} and {b}?
What is the least common multiple of {b} and {c}?
Is {a} a prime number? Explain.
Factor {a} into primes.
Convert {a} kilometres to miles.
Convert {a} minutes to hours and minutes.
Write {c}/{a} as a decimal.
Add the fractions {c}/{b} and 1/{a}.
What is the next number in the sequence {c}, {d}, {e}?
If {b} workers build a wall in {c} days, how long do {a} workers need?
{name} is {b} years older than {name2}. Together they are {a} years old. How old is {name}?
A bag holds {b} red and {c} blue {thing}. What is the probability of drawing a red one?
How many ways are there to arrange {c} {thing} in a row?
What is the derivative of {b}x^{c}?
What is the integral of {b}x?
What is the square root of {square}?
Simplify {b}(x + {c}) - {a}x.
Round {a}.{b}{c} to the nearest whole number.
{name} saves ${b} every week. After how many weeks does {name} have ${a}?
{name} shares {a} {thing} equally among {c} friends. How many does each get?
A recipe for {c} people needs {b} cups of flour. How much is needed for {a} people?
A tank holds {a} litres and leaks {c} litres an hour. How much is left after {b} hours?
{name} walks {c} km in the morning and twice as far in the evening. How far is that in {b} days?
Explain how to add {c}/{b} and {b}/{a}.
Explain how to find {c}% of a number, with an example.
What is 2 to the power of {c}?
What is the sum of the first {b} natural numbers?
A class has {a} students, and {b} of them are girls. What fraction are boys?
If y = {b}x + {c}, what is y when x = {a}?
The angles of a triangle are {b} and {a} degrees. What is the third?
A shop sells {a} {thing} on Monday and {b} fewer on Tuesday. How many in both days?
{name} has three times as many {thing} as {name2}, who has {b}. How many do they have together?
""")
_MATHS_ENDINGS = [
    "",
    "",
    "",
    "",
    " Show your work.",
    " Explain step by step.",
    " Think carefully.",
    " Give only the answer.",
]


def _maths(draw: random.Random) -> str:
    name, name2 = draw.sample(_NAMES, 2)
    a, b, c = draw.randint(12, 240), draw.randint(3, 24), draw.randint(2, 12)
    step = draw.randint(2, 9)
    text = draw.choice(_MATHS).format(
        name=name,
        name2=name2,
        thing=draw.choice(_THINGS),
        a=a,
        b=b,
        c=c,
        d=c + step,
        e=c + 2 * step,
        square=b * b,
    )
    return text + draw.choice(_MATHS_ENDINGS)


# -------------------------------------------------------------------------------------------------- passages

_FACTS = _blocks("""
Lighthouses were built to guide ships away from rocks and into safe harbours.
The first ones were simple fires lit on hills near the coast.
Later, lenses made of glass rings could send a beam of light more than twenty miles out to sea.
Keepers lived in the tower and had to trim the wick and wind the clockwork every few hours.
Today almost all of them work without people, and many have become museums.
===
Honey bees live in colonies with one queen, thousands of workers and a few hundred drones.
Workers visit flowers to collect nectar, which they turn into honey by fanning it with their wings.
A bee that has found food dances in the hive to show the others the direction and the distance.
In winter the bees form a ball and shiver to keep the queen warm.
Farmers depend on bees because many fruits and vegetables need them for pollination.
===
The printing press with movable type spread across Europe in the fifteenth century.
Before it, books were copied by hand, and a single Bible could take a year.
Prices fell quickly, and ideas could travel faster than the people who wrote them.
Within fifty years, presses were working in more than two hundred cities.
Historians link the press to the rise of science, of newspapers and of public schools.
===
Coral reefs cover less than one percent of the sea floor but shelter a quarter of all marine species.
They are built by tiny animals that live together with algae.
When the water becomes too warm, the corals lose their algae and turn white.
A bleached reef can recover if the water cools again within a few weeks.
Reefs also protect coasts from storms and bring visitors to many islands.
===
The company was founded in a small garage by two sisters who repaired bicycles.
In its first year it sold only forty bikes, most of them to neighbours.
The turning point came when a local school ordered two hundred bicycles for its pupils.
Today it employs three hundred people and exports to twelve countries.
The sisters still test every new model on the hill behind the factory.
===
Tea was first grown in China, where it was used as a medicine for many centuries.
Traders carried it along mountain roads to Tibet and later by ship to Europe.
All kinds of tea come from the same plant; the difference lies in how the leaves are treated.
Green tea is heated soon after picking, while black tea is left to darken in the air.
After water, tea is the drink that people consume most.
===
The city council voted on Tuesday to close the main square to cars.
Shop owners fear that they will lose customers who come from the suburbs.
Supporters point to cleaner air and to more space for cafes and markets.
A similar plan in a neighbouring town raised the number of visitors by a fifth.
The change will begin in the spring, and the results will be reviewed after one year.
===
Glaciers form where more snow falls in winter than melts in summer.
The snow is pressed into ice, which flows slowly downhill under its own weight.
As they move, glaciers grind the rock beneath and carve wide valleys.
About a tenth of the land on Earth is covered by ice today.
Most glaciers are now shrinking, and the water they release raises the level of the sea.
===
The old library on Mill Street was damaged by a flood last autumn.
Volunteers carried more than nine thousand books to the upper floors.
Some of the rare maps were frozen to stop the growth of mould.
Repairs will cost about two million dollars, half of which has already been donated.
The director hopes to open the reading room again in September.
===
Sleep is divided into cycles that last about ninety minutes each.
In deep sleep the body repairs tissue and the brain stores new memories.
Dreams happen mostly in a lighter stage in which the eyes move quickly.
Adults need between seven and nine hours, while teenagers need a little more.
Bright screens in the evening delay sleep because they slow the release of a hormone called melatonin.
===
The potato came to Europe from the mountains of South America in the sixteenth century.
At first many people refused to eat it because it was not mentioned in old books.
It grows well in poor soil and gives more food per field than wheat.
By the eighteenth century it fed much of Ireland, Prussia and Russia.
A disease that destroyed the crop in the 1840s led to a terrible famine.
===
Wind turbines turn the movement of air into electricity.
The blades are shaped like the wings of an airplane so that the wind pulls them around.
A modern turbine at sea can supply more than ten thousand homes.
Because the wind does not always blow, networks need storage or other sources.
The price of wind power has fallen by more than half in ten years.
===
Marta moved to the village to take over her uncle's bakery.
She got up at three every morning and learned to judge the dough by touch.
In the first month she burned so many loaves that the neighbours joked about it.
Then she began to bake a dark rye bread from an old family recipe.
People now drive from the city on Saturdays to buy it, and it sells out before nine.
===
The human heart beats about one hundred thousand times a day.
It has four chambers that pump blood to the lungs and to the rest of the body.
Valves between the chambers keep the blood from flowing backwards.
Regular exercise makes the muscle stronger, so that it can beat more slowly at rest.
Smoking and high blood pressure are two of the main causes of heart disease.
===
Octopuses have three hearts, blue blood and eight arms covered with suckers.
Most of their nerve cells lie in the arms, which can act almost on their own.
They change the colour and texture of their skin to hide from enemies.
In aquariums they have learned to open jars and to escape through narrow pipes.
Most species live for only one or two years.
===
The railway across the desert took seven years to build.
Workers laid the rails at night because the heat by day was too great.
Water had to be brought by camels from wells that were fifty miles away.
When the line was finished, a journey that had taken three weeks took two days.
Several small towns grew up around the stations and still exist today.
===
A recent study followed two thousand office workers who changed to a four-day week.
Most of them said that they felt less tired and slept better.
The companies reported that the amount of work done stayed about the same.
Sick days fell by a third during the six months of the trial.
Critics note that the companies had volunteered and may not be typical.
===
Paper was invented in China about two thousand years ago from bark, rags and nets.
The secret reached the Arab world in the eighth century and Spain in the twelfth.
For a long time rags were the main material, and there were never enough of them.
In the nineteenth century, machines made it possible to use wood instead.
Cheap paper led to daily newspapers, novels for everyone and schoolbooks.
===
Volcanoes form where melted rock rises through cracks in the crust of the Earth.
Some erupt gently and pour out rivers of lava, while others explode.
Ash from a large eruption can cool the climate of the whole planet for a year or two.
The soil around volcanoes is rich, so farmers return even after disasters.
Scientists watch for small earthquakes and gases that may announce an eruption.
===
The football team from the fishing port had never won a single cup.
This season they hired a young coach who had been a teacher of mathematics.
She studied videos of every opponent and changed the training completely.
In the final they scored twice in the last ten minutes.
Fifteen thousand people welcomed the players when their bus came home.
===
Mars is about half as wide as the Earth and much colder.
A day there lasts a little more than twenty-four hours, but a year is almost twice as long as ours.
Dried river beds show that water once flowed on its surface.
Its highest mountain, Olympus Mons, is three times as tall as Mount Everest.
Robots have explored the planet since the 1970s, and people may follow one day.
===
Bread is one of the oldest prepared foods in the world.
The first breads were flat and were baked on hot stones.
In Egypt people found that dough left in the warm air would rise by itself.
Yeast eats the sugar in the flour and gives off a gas that makes bubbles.
Bakers today use both quick yeast from shops and slow sourdough.
===
The museum has bought a painting that was lost for nearly a century.
It shows a woman reading a letter beside an open window.
An expert recognised it in the waiting room of a dentist.
Tests of the paint and the canvas proved that it was made around 1660.
It will hang in the new wing from next month, and entry is free on Sundays.
===
Electric cars store energy in a battery instead of burning fuel in an engine.
They have fewer moving parts, so they need less repair.
Charging at home overnight is enough for most daily trips.
Making the battery uses a lot of energy and rare metals.
As the share of clean electricity grows, the advantage of these cars grows too.
===
Penguins cannot fly, but they are excellent swimmers.
Their wings have become flippers, and their bones are heavy, which helps them to dive.
Emperor penguins raise their chicks in the middle of the Antarctic winter.
The father keeps the egg warm on his feet for two months without eating.
Groups stand close together and take turns at the windy edge.
===
The new bridge will connect the island with the mainland for the first time.
Until now people have depended on a ferry that does not sail in storms.
The bridge is two miles long and has room for cars, bicycles and walkers.
Some families worry that the quiet life of the island will be lost.
Building began in 2019, and the first cars should cross in June.
===
Chess was first played in India about fifteen hundred years ago.
From there it went to Persia, and the word checkmate comes from Persian.
The queen was once a weak piece that could move only one square.
In 1997 a computer beat the world champion for the first time.
Today programs on a phone are stronger than any human player.
===
Inflation means that the prices of most goods rise over time.
A little of it is normal, and central banks often aim for about two percent a year.
When prices rise too fast, savings lose their value and people spend money at once.
Banks can slow inflation by raising interest rates, which makes loans more expensive.
Falling prices can be harmful too, because people wait before they buy.
===
Leo found a wooden box under the floor of his grandfather's house.
Inside there were forty letters, a key and a photograph of a ship.
The letters were written by a sailor who had never come home.
Leo spent a year looking for the family of the sailor and found a daughter in Norway.
She was eighty years old and had never heard the sound of her father's words before.
===
Trees in a forest are linked by fungi that grow around their roots.
The fungi bring water and minerals, and the trees pay with sugar.
Old trees can send food to seedlings that stand in the shade.
When insects attack one tree, its neighbours begin to produce bitter substances.
Some scientists warn that these findings are often exaggerated.
===
The school garden began with three boxes of soil and a packet of carrots.
Now every class has its own bed, and the kitchen uses the vegetables.
Pupils write down the weather and measure how fast the plants grow.
Teachers say that children who never liked biology ask questions all day.
The harvest festival in October is open to the whole neighbourhood.
===
Vaccines train the immune system to recognise a germ before it causes illness.
The first one, against smallpox, was tested in 1796.
Some vaccines contain weak germs, others only a small part of them.
When enough people are protected, a disease can no longer spread easily.
Side effects are usually mild, such as a sore arm or a short fever.
===
Salt was once so valuable that soldiers were sometimes paid with it.
It keeps meat and fish from going bad, which made long journeys possible.
Cities grew rich by taxing the roads on which it was carried.
Today most of it is used by industry and to melt ice on roads.
Doctors advise adults to eat no more than one teaspoon a day.
===
The app helps people to share food that would otherwise be thrown away.
Bakeries and restaurants post what is left at the end of the day.
Users pay a small price and collect a bag before closing time.
In two years it has saved more than five million meals.
The founders, three students from Copenhagen, plan to add supermarkets next.
""")
_NEWS = _lines("""
{name} {surname}, {role} from {place}, won a prize of {a} thousand dollars on {day}.
The {event} in {place} drew more than {a} thousand visitors this year, {b} percent more than the last.
"We did not expect this," said {name} {surname}, who has organised the {event} for {b} years.
The next {event} will take place in {month}, and tickets will cost {c} dollars.
A storm closed the airport of {place} for {c} hours on {day}.
About {a} passengers had to spend the night in the halls, and {b} flights were moved to {day2}.
A new school for {a} pupils will open in {place} in {month}.
It has {b} classrooms, a library and a roof garden, and it was paid for by the city.
{name} {surname} began to work as {role} at the age of {age}.
After {b} years, {name} moved to {place} and opened a small shop.
Researchers in {place} found that people who study {topic} for {c} hours a week sleep better.
They asked {a} people aged {age} to sixty and compared their answers over {b} months.
The hotel near the station of {place} has {a} rooms, and breakfast is served from {c} o'clock.
Guests who stay longer than {c} nights pay {b} percent less.
The team lost its first {c} games but won the {event} in {month}.
The bus from {place} leaves at {c}:30 every morning and takes {b} hours.
The recipe needs {c} eggs, {a} grams of flour and a little salt, and it bakes for {b} minutes.
A museum about {topic} opened in {place} on {day} after {b} years of work.
It shows {a} objects, and children under {c} may enter for free.
The company announced on {day} that it will hire {a} people in {place} by {month}.
Its head, {name} {surname}, said that the interest in {topic} has doubled in {c} years.
""")
_SURNAMES = _items("""
Smith | Garcia | Muller | Rossi | Tanaka | Okafor | Silva | Novak | Larsen | Kim | Patel | Haddad | Brown
| Dubois | Ivanova
""")
_DAYS = _items("Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday")
_MONTHS = _items(
    "January | February | March | April | May | June | July | August | September | October | November"
)
_EVENTS = _items("""
book fair | film festival | flower market | spring marathon | jazz festival | science week | food fair
| boat race | craft market | poetry night | chess tournament | winter parade
""")


def _passage(draw: random.Random) -> tuple[str, str]:
    """A short passage and a phrase that names what it is about."""
    if draw.random() < 0.5:
        facts = draw.choice(_FACTS)
        chosen = sorted(draw.sample(range(len(facts)), draw.randint(3, len(facts))))
        return " ".join(facts[i] for i in chosen), "the passage"
    day, day2 = draw.sample(_DAYS, 2)
    topic, event = draw.choice(_TOPICS), draw.choice(_EVENTS)
    words = {
        "name": draw.choice(_NAMES),
        "surname": draw.choice(_SURNAMES),
        "role": draw.choice(_ROLES),
        "place": draw.choice(_PLACES),
        "month": draw.choice(_MONTHS),
        "event": event,
        "topic": topic,
        "day": day,
        "day2": day2,
        "a": draw.randint(20, 900),
        "b": draw.randint(5, 40),
        "c": draw.randint(3, 9),
        "age": draw.randint(16, 45),
    }
    chosen = sorted(draw.sample(range(len(_NEWS)), draw.randint(3, 5)))
    return " ".join(_NEWS[i].format(**words) for i in chosen), "the text"


_SUMMARY = _lines("""
Summarize the following text in one sentence.
Summarize this passage in two sentences.
Write a short summary of the text below.
What is the main idea of this passage?
Give the key points of this text as a list.
Explain the following passage in simple words.
Write a headline for this text.
Shorten this text to half its length.
Rewrite this passage so that a child can understand it.
Summarise the text for a newsletter.
List the three most important facts from this passage.
Give a brief overview of what follows.
TL;DR of this text, please.
Paraphrase the following paragraph.
What should a reader remember from this?
""")


def _summary(draw: random.Random) -> str:
    passage, _ = _passage(draw)
    ask = draw.choice(_SUMMARY)
    return f"{ask}\n\n{passage}" if draw.random() < 0.75 else f"{passage}\n\n{ask}"


_QUESTIONS = _lines("""
What is {thing} about?
Who is mentioned in {thing}?
What happened, according to {thing}?
Why did this happen?
Where does it take place?
When did it happen?
How many are mentioned in {thing}?
Which numbers does {thing} give?
What is the first thing that {thing} says?
What changed, and why?
What do we learn at the end of {thing}?
What problem does {thing} describe?
Who would be interested in {thing}?
What will happen next?
What is the most surprising fact in {thing}?
Is the tone of {thing} positive or negative?
What reason is given in {thing}?
How long did it take?
What does the second sentence say?
Which fact in {thing} can be checked?
""")
_QA = _lines("""
Read the passage and answer the question.
Answer the question using only the text.
Use the context to answer.
Here is a passage. Please answer the question below it.
Answer in one sentence.
Answer briefly and quote the passage.
""")


def _qa(draw: random.Random) -> str:
    passage, thing = _passage(draw)
    question = draw.choice(_QUESTIONS).format(thing=thing)
    ask = draw.choice(_QA)
    shape = draw.random()
    if shape < 0.4:
        return f"{ask}\n\n{passage}\n\nQuestion: {question}"
    if shape < 0.6:
        return f"{ask}\n\nContext: {passage}\nQuestion: {question}\nAnswer:"
    if shape < 0.8:
        return f"{passage}\n\n{question}"
    return f"{question}\n\n{passage}"


# ----------------------------------------------------------------------------------------------- translation

_TONGUES = _items("""
French | French | Spanish | Spanish | German | German | Italian | Portuguese | Dutch | Swedish | Polish
| Latin | English
""")
_SENTENCES = _lines("""
Where is the nearest {spot}?
I would like to buy {things}, please.
How much do {things} cost?
My {kin} works in {place}.
My {kin} likes {topic}.
Yesterday I went to the {spot} with my {kin}.
Tomorrow we will visit {place}.
The weather in {place} is {weather} today.
Can you help me to find the {spot}?
I have lost my {object}.
Please close the {object2}.
The {object} is on the table.
I am learning to speak {tongue}.
She has {number} brothers and a sister.
He bought {number} {things} at the {spot}.
We are looking for a room for {number} nights.
Good morning, my name is {name}.
Thank you very much for your help.
I am hungry and tired.
What time does the {spot} open?
The {spot} is closed on {day}.
{name} wrote a letter to {name2}.
{name} will arrive on {day}.
My favourite season is the spring.
Do you know where {name} is?
I do not understand this word.
The children are playing in the {spot}.
It is {weather}, so we stay at home.
When I was young, I lived in {place}.
The train to {place} leaves in {number} minutes.
I have read a book about {topic}.
There is a {object} in my room.
He has been a teacher for {number} years.
If it rains, I will take my {object}.
The dog sleeps under the {object2}.
{name} is taller than {name2}.
We need {number} {things} for the party.
I think that {topic} can be very interesting.
""")
_TRANSLATION = _lines("""
Translate to {tongue}: {sentence}
Translate the following sentence into {tongue}: "{sentence}"
How do you say "{sentence}" in {tongue}?
What is the {tongue} translation of this sentence? {sentence}
Please translate this into {tongue}, and explain each word: {sentence}
Translate from English to {tongue}. {sentence} {sentence2}
Translate into {tongue}:\\n\\n{sentence}\\n{sentence2}
Give the {tongue} word for each of these: {object}, {object2}, {things}, {spot}.
Translate this short text to {tongue}.\\n\\n{passage}
I need this in {tongue}: {sentence} {sentence2}
Write a short greeting in {tongue} and translate it into English.
Translate into {tongue} and then into {tongue2}: {sentence}
Say this politely in {tongue}: {sentence}
""")
_SPOTS = _items("""
station | library | school | market | museum | hospital | bakery | park | beach | hotel | bank | cinema
| restaurant | garden
""")
_KIN = _items("mother | father | brother | sister | uncle | aunt | friend | neighbour | grandmother | cousin")
_WEATHER = _items("cold | warm | sunny | rainy | windy | cloudy | very hot | snowy")
_OBJECTS = _items(
    "key | umbrella | book | phone | bag | passport | hat | coat | wallet | map | ticket | lamp"
)
_OBJECTS2 = _items("door | window | table | chair | bed | cupboard | gate")
_NUMBERS = _items("two | three | four | five | six | seven | eight | ten | twelve | twenty")


def _sentence(draw: random.Random) -> str:
    name, name2 = draw.sample(_NAMES, 2)
    return draw.choice(_SENTENCES).format(
        spot=draw.choice(_SPOTS),
        things=draw.choice(_THINGS),
        kin=draw.choice(_KIN),
        place=draw.choice(_PLACES),
        topic=draw.choice(_TOPICS),
        weather=draw.choice(_WEATHER),
        object=draw.choice(_OBJECTS),
        object2=draw.choice(_OBJECTS2),
        tongue=draw.choice(_TONGUES),
        number=draw.choice(_NUMBERS),
        name=name,
        name2=name2,
        day=draw.choice(_DAYS),
    )


def _translation(draw: random.Random) -> str:
    passage, _ = _passage(draw)
    tongue, tongue2 = draw.choice(_TONGUES), draw.choice(_TONGUES)
    return (
        draw.choice(_TRANSLATION)
        .replace("\\n", "\n")
        .format(
            tongue=tongue,
            tongue2=tongue2,
            sentence=_sentence(draw),
            sentence2=_sentence(draw),
            object=draw.choice(_OBJECTS),
            object2=draw.choice(_OBJECTS2),
            things=draw.choice(_THINGS),
            spot=draw.choice(_SPOTS),
            passage=passage,
        )
    )


_COMPOSERS: dict[str, Callable[[random.Random], str]] = {
    "chat": _chat,
    "code": _code,
    "maths": _maths,
    "summary": _summary,
    "translation": _translation,
    "qa": _qa,
}

# -------------------------------------------------------------------------------------------------- held out

_OTTER = (
    "Sea otters spend almost all of their lives in the water. They wrap themselves in kelp before they "
    "sleep so that the current does not carry them away. Their fur is the thickest of any animal, because"
    " they have no layer of fat. They use stones to crack the shells of clams and sea urchins."
)
_CLINIC = (
    "The clinic in Ashford moved to a larger building in 2021. It now treats about 140 patients a day, "
    "twice as many as before. Dr. Helen Moss, who leads it, says that waiting times have fallen from "
    "three weeks to four days. A second clinic is planned for the north of the county."
)
_TULIP = (
    "In the 1630s the price of tulip bulbs in Holland rose so high that a single bulb could cost as much "
    "as a house. People bought bulbs they had never seen and sold them again within days. In February "
    "1637 buyers stopped coming to an auction in Haarlem, and within a week prices had collapsed. Recent "
    "historians think that few people were ruined."
)
_KITE = (
    "Nobody believed that the boy from the valley could build a kite large enough to lift a man. He sewed"
    " it from old sails and tested it with sacks of sand. On the third of May the wind was right. He rose"
    " above the church tower, waved to his mother, and landed in a field of cabbages."
)
_CACHE = (
    "A cache keeps copies of data that are used often in a place that can be reached quickly. When the "
    "data are not in the cache, the program has to fetch them from slower memory, which is called a miss."
    " Larger caches have fewer misses but are slower and more expensive. Most processors therefore have "
    "several levels of cache."
)
_MINUTES = (
    "Present: Ruth, Omar, Jin. The budget for the summer camp was approved. Omar will book two buses by "
    "Friday. Jin reported that 48 children have signed up so far, and that the kitchen can serve 60. Ruth"
    " will ask the council for a smaller tent. The next meeting is on 14 March."
)
_HELD_OUT: dict[str, list[str]] = {
    "chat": [
        "I've just adopted a kitten and she hides under the sofa all day. Any advice?",
        "Could you recommend a few ways to keep a small apartment cool during a heat wave?",
        "What makes a good villain in a story?",
        "My sister and I argue whenever we talk about politics. How could we get along better?",
        "Explain how a refrigerator keeps food cold.",
        "Help me word a message to my landlord about the broken heating.",
        "Who was Marie Curie and what did she discover?",
        "What's a fun science experiment I can do with my kids in the kitchen?",
        "Write four lines of verse about an old train station at night.",
        "I have two free hours tonight and no plans. Ideas?",
        "Why do leaves turn red in autumn?",
        "Draft a toast for my best friend's retirement party.",
    ],
    "code": [
        "In Python, how can I find the index of the first negative number in a list?",
        "Why does `0.1 + 0.2 == 0.3` return False?",
        "Create a Python class Temperature with methods to_celsius and to_fahrenheit.",
        "I get 'IndexError: list index out of range' in my loop. What are the usual causes?",
        "Please write a JavaScript function debounce(fn, ms).",
        "How would you store a tree of comments in a relational database?",
        "What is wrong here?\n\ndef mean(xs):\n    for x in xs:"
        "\n        total += x\n    return total / len(xs)",
        "Write a shell one-liner that prints the ten largest files below the current directory.",
        "Turn this loop into a list comprehension:\n\nout = []"
        "\nfor w in words:\n    if len(w) > 3:\n        out.append(w.upper())",
        "Demonstrate how to sort a list of dictionaries by two keys in Python.",
        "Write a C function that copies a string without using the standard library.",
        "Explain what git rebase does as opposed to git merge.",
    ],
    "maths": [
        "A cinema has 18 rows of 22 seats. On Friday 317 seats were sold. How many stayed empty?",
        "If a plant grows 3 cm every two days, how tall is a 10 cm plant after 16 days?",
        "Prove that the sum of two odd numbers is even.",
        "Tom's phone battery falls from 100% to 64% in 90 minutes. When will it be empty?",
        "Which is larger, 5/8 or 7/12?",
        "A ladder 13 feet long leans against a wall with its foot 5 feet away. How high does it reach?",
        "Mia mixes 2 litres of syrup with 7 litres of water. What percentage of the drink is syrup?",
        "How many handshakes are there when 9 people all shake hands with each other?",
        "Expand (2x - 3)(x + 5).",
        "The sum of three consecutive integers is 96. Find them.",
        "What is the slope of the line through the points (2, 3) and (6, 11)?",
        "An investment of $500 grows by 4% a year. What is it worth after 3 years?",
    ],
    "summary": [
        f"Condense this into a single sentence: {_OTTER}",
        f"{_CLINIC}\n\nIn short, what is this article telling us?",
        f"Write an abstract of at most 30 words for the following.\n\n{_TULIP}",
        f"Retell this story very briefly.\n\n{_KITE}",
        f"{_CACHE}\n\nSum this up for someone without a technical background.",
        f"Turn these minutes into three bullet points.\n\n{_MINUTES}",
    ],
    "translation": [
        "Could you put this into French? The soup is too hot, but it tastes wonderful.",
        'What would a German say for "I missed the last bus, so I had to walk home"?',
        "Spanish, please: Our neighbours are painting their fence blue this weekend.",
        "Render in Italian: The old clock in the hall stopped at midnight.",
        "I'm writing a postcard to Lisbon. How is 'We miss you and hope to see you in summer' put "
        "in Portuguese?",
        "Translate to English: Le petit chat dort sur la chaise de la cuisine.",
        "Translate to English: Mañana por la mañana vamos a comprar pan y queso.",
        "What does 'Der Apfel fällt nicht weit vom Stamm' mean in English?",
        "Provide French, Spanish and German versions of: Happy birthday, dear teacher!",
        f"Put the following into Spanish.\n\n{_OTTER}",
        f"Put the following into French.\n\n{_KITE}",
        "List the days of the week in Dutch with their English meanings.",
    ],
    "qa": [
        f"{_OTTER}\n\nWhy do sea otters wrap themselves in kelp?",
        f"{_OTTER}\n\nQ: How do otters open shells?\nA:",
        f"Based on the article, by how much have waiting times fallen?\n\n{_CLINIC}",
        f"{_CLINIC}\n\nWho leads the clinic, and how many patients does it treat?",
        f"{_TULIP}\n\nWhat happened in February 1637?",
        f"According to the following, were many people ruined?\n\n{_TULIP}",
        f"{_KITE}\n\nWhat did the boy use to build his kite, and where did he land?",
        f"From the story below, tell me when the wind was right.\n\n{_KITE}",
        f"{_CACHE}\n\nWhat is a cache miss?",
        f"Why don't processors simply use one very large cache? Look at this: {_CACHE}",
        f"{_MINUTES}\n\nHow many more children could the kitchen serve?",
        f"{_MINUTES}\n\nWho has to book the buses, and by when?",
    ],
}
_HELD_OUT["summary"] += [
    f"Give this a title and a one-line description.\n\n{passage}"
    for passage in (_OTTER, _CLINIC, _TULIP, _KITE, _CACHE, _MINUTES)
]
