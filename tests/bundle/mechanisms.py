"""The ways in which the samples try to do harm: what plain loading lets happen, and how samples' names begin."""

RUNS, OUT, IN, EATS = "code runs", "writes outside", "reads outside", "takes memory, disk or time beyond a bound"
NO_HARM = "fails or misleads"


def _expressions(*names: str) -> tuple[str, ...]:
    return tuple(f"expression {name} in " for name in names)


def _bombs(*names: str) -> tuple[str, ...]:
    return tuple(f"bomb {name}" for name in names)


MECHANISMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "an expression that imports": (RUNS, _expressions("import")),
    "an expression that calls a builtin": (RUNS, _expressions("open", "eval", "exec", "getattr")),
    "an expression with a loop": (RUNS, _expressions("comprehension", "generator")),
    "an expression that walks from a value to all classes": (RUNS, _expressions("subclasses")),
    "an expression in a text": (RUNS, _expressions("f-string")),
    "an expression that assigns": (RUNS, _expressions("walrus")),
    "an expression that calls a lambda": (RUNS, _expressions("called lambda")),
    "an expression that calls a library": (RUNS, _expressions("numpy", "torch", "os")),
    "an expression that reaches a module through another": (RUNS, _expressions("chained")),
    "an expression that starts another parser": (RUNS, _expressions("monai")),
    "a call in a branch, a slice, an argument list or a dict": (
        RUNS,
        _expressions("conditional", "in a slice", "as a key", "starred"),
    ),
    "an expression whose value is huge": (EATS, _bombs("text", "list", "power", "shift", "range", "format", "round")),
    "an expression that is long, deep or none": (
        NO_HARM,
        (
            *_bombs("nested", "product", "doubling", "deep", "long", "digits", "division", "no expression"),
            *_bombs("import", "unknown", "null", "itself"),
        ),
    ),
    "a target that is any function": (
        RUNS,
        (
            *("target os.", "target subprocess", "target builtins", "target io.", "target torch.save", "target numpy"),
            *("target shutil", "network by path"),
        ),
    ),
    "a target through the attributes of a module": (RUNS, ("target torch.serialization", "target monai.config")),
    "a target that is MONAI's own writer of files": (RUNS, ("target monai.bundle",)),
    "a target that is computed": (RUNS, ("target by", "target that is")),
    "a target inside of an argument": (RUNS, ("a target inside",)),
    "a class of the bundle's own scripts": (RUNS, ("network of the bundle's scripts",)),
    "a lambda in a transform": (RUNS, ("lambda ",)),
    "a lambda after an inverse": (RUNS, ("inverse's lambda ",)),
    "a reader, writer or namer": (RUNS, ("reader by", "writer by", "name formatter")),
    "a function for an activation": (RUNS, ("other activation", "a named function", "a text for")),
    "a switch of the config's language": (RUNS, ("requires", "disabled by", "unknown underscore", "mode ")),
    "a macro": (RUNS, ("macro of",)),
    "a network of huge size": (EATS, ("huge network",)),
    "parts that are unknown, or do not fit": (
        NO_HARM,
        (
            *("huge windows", "huge resize", "unknown argument", "pretrained", "merger", "inverse of", "two loads"),
            *("no inferer", "steps that", "a step for", "a circle", "a long chain", "a key with"),
        ),
    ),
    "a pickle for weights": (RUNS, ("pickle in weights", "pickle for weights", "bare pickle")),
    "a pickle for weights in the old form": (RUNS, ("legacy pickle",)),
    "a pickle that an expression loads": (RUNS, ("pickle in an expression",)),
    "an array of objects": (RUNS, ("np.load", "object array")),
    "TorchScript": (RUNS, ("TorchScript",)),
    "weights or arrays that lie elsewhere": (
        IN,
        ("weights outside", "weights by", "weights through", "a file elsewhere"),
    ),
    "weights that are damaged or do not fit": (
        NO_HARM,
        (
            *("a whole module", "legacy weights", "no tensors", "nothing", "other shapes", "a key less", "a key more"),
            *("stretched", "cut weights", "text for weights", "weights missing", "a folder for", "compressed"),
            *("weights as", "safetensors"),
        ),
    ),
    "an object in YAML": (RUNS, ("YAML object",)),
    "references in YAML that multiply": (EATS, ("YAML laughs",)),
    "configs that are damaged, too large, too deep or ambiguous": (
        NO_HARM,
        (
            *("inference.json", "metadata.json", "YAML name", "YAML cycle", "YAML key", "YAML merge", "YAML date"),
            *("YAML infinity", "YAML nested", "half a bundle"),
        ),
    ),
    "a zip whose members lead out": (
        OUT,
        ("zip: dots", "zip: an absolute", "zip: a double", "zip: back", "zip: a drive"),
    ),
    "a zip with links": (OUT, ("zip: a link",)),
    "a zip that swells": (EATS, ("zip: zeros", "zip: one content")),
    "a zip that is damaged or ambiguous": (
        NO_HARM,
        ("zip: a line", "zip: very", "zip: a member", "zip: names", "zip: a file", "zip: two", "zip: cut", "zip: no"),
    ),
}
