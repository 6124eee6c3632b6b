# Runs tasks of lm-eval-harness on a model behind a pipe. The first line on standard input has the tasks, as the overrides
# of their configurations. What the harness asks goes to standard output, a JSON object a line, and the next line has the
# answer: {"encode": text} tokens, {"score": [context, continuation]} [log-probability, whether greedy]. The last line has
# {"requests", "results"}: requests are what it asked of each task, as texts and as tokens.

import json
import os
import sys
from pathlib import Path

# The pipe: nobody else writes to it.
pipe = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import lm_eval  # noqa: E402
from lm_eval import simple_evaluate, utils  # noqa: E402
from lm_eval.api.model import TemplateLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.tasks._index import TaskIndex  # noqa: E402


def ask(question):
    print(json.dumps(question), file=pipe, flush=True)
    return json.loads(sys.stdin.readline())


class Piped(TemplateLM):
    backend = "causal"

    def __init__(self, eot):
        super().__init__()
        self.eot = eot
        self.requests = []

    @property
    def eot_token_id(self):
        return self.eot

    def tok_encode(self, string, **_):
        return ask({"encode": string})

    def _loglikelihood_tokens(self, requests, **_):
        scores = []
        for texts, context, continuation in requests:
            self.requests.append({"texts": texts, "tokens": [context, continuation]})
            logprob, greedy = ask({"score": [context, continuation]})
            scores.append((logprob, greedy))
        return scores

    def loglikelihood_rolling(self, requests, **_):
        sums = []
        for (string,) in [request.args for request in requests]:
            windows = utils.get_rolling_token_windows(
                token_list=self.tok_encode(string),
                prefix_token=self.prefix_token_id,
                max_seq_len=2**20,
                context_len=1,
            )
            pairs = [utils.make_disjoint_window(window) for window in windows]
            asked = [(("", string), *pair) for pair in pairs]
            sums.append(sum(logprob for logprob, _ in self._loglikelihood_tokens(asked)))
        return sums

    def generate_until(self, requests, **_):
        raise NotImplementedError


spec = json.loads(sys.stdin.readline())
# Not all of its tasks, of which there are thousands.
manager = TaskManager(include_defaults=False)
requests = {}
results = {}
for task in spec["tasks"]:
    name = task["task"]
    path = Path(lm_eval.__file__).parent / "tasks" / task.pop("yaml")
    model = Piped(spec["eot"])
    # The harness's own task, but for where its rows are from.
    entry = TaskIndex.entry_from_path(path)
    built = manager._factory.build(entry, overrides=task, registry={})
    found = simple_evaluate(
        model=model, tasks=[built], task_manager=manager, bootstrap_iters=100
    )
    requests[name] = model.requests
    results[name] = {
        metric.replace(",none", ""): value
        for metric, value in found["results"][name].items()
        if isinstance(value, float)
    }
print(json.dumps({"requests": requests, "results": results}), file=pipe, flush=True)
