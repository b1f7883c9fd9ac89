// The scute program: finds the verb, runs it, turns what was thrown into words and an exit code.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <new>

#include "cli/terminal/options.h"
#include "cli/terminal/table.h"
#include "cli/verbs.h"
#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

constexpr std::array kVerbs{
    Verb{"demo", "the main job on the bundled models: collect, decide, eval, what was found",
         "scute demo --out scute-demo", run_demo},
    Verb{"collect", "run documents through a model once, keep exact statistics of every site",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--out stats.safetensors",
         run_collect},
    Verb{"decide", "turn statistics into ranges and scales, without the model",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--out stats.safetensors\n"
         "scute decide stats.safetensors --policy auto --out plan.json",
         run_decide},
    Verb{"quantize", "write a low-bit checkpoint: W8A8, W4A8 or W4A16",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--out stats.safetensors\n"
         "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-mamba1-w8a8",
         run_quantize},
    Verb{"trace", "every static scale of a low-bit model: where it acts, where it comes from",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--out stats.safetensors\n"
         "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-traced\n"
         "scute trace tiny-traced --layer 0",
         run_trace},
    Verb{"scales", "change ranges of a plan or a low-bit model by hand, without calibrating",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--out stats.safetensors\n"
         "scute decide stats.safetensors --out edited-plan.json\n"
         "scute scales edited-plan.json --set 'layer_*.x_proj:input*=1.5'\n"
         "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-edited\n"
         "scute scales tiny-edited --set 'layer_0.x_proj:input*=1.5' 'layer_1.z_act:input=6'",
         run_scales},
    Verb{"report", "one page with distributions, ranges, heat map, experiments; opens from disk",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--out stats.safetensors\n"
         "scute report --stats stats.safetensors --out report.html",
         run_report},
    Verb{"export", "a low-bit model as a plain checkpoint, or a regressor for hardware",
         "scute quantize examples/tiny-mamba1 --w-bits 4 --a-bits 16 --out tiny-w4a16\n"
         "scute export tiny-w4a16 --dequantized --out tiny-w4a16-float\n"
         "scute export tests/golden/regressor/slim_dwconv.pt --q8.8 --out regressor-q88",
         run_export},
    Verb{"eval",
         "perplexity, last-word accuracy, a regressor's errors: with protocol and standard error",
         "scute eval examples/tiny-mamba1 --perplexity examples/text/heldout.txt --window 512 "
         "--max-windows 8\n"
         "scute eval tests/golden/regressor/slim.pt --feat-root tests/golden/regressor_features "
         "--quant-bits 8",
         run_eval},
    Verb{"run",
         "one experiment: collect, decide, quantize, score, record; measures only what is new",
         "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--percentile-alpha 0.9995 --tasks perplexity --eval-data examples/text/heldout.txt "
         "--window 512 --max-windows 8",
         run_run},
    Verb{"sweep", "every combination of models, rules and bits, each model measured once; ranked",
         "scute sweep --models examples/tiny-mamba1,examples/tiny-mamba2 --percentile-alphas "
         "0.9995,1.0 --data examples/text/calibration.jsonl --tasks last-word,perplexity "
         "--eval-data examples/text/last_word.jsonl examples/text/heldout.txt --window 512",
         run_sweep},
    Verb{"log", "experiments so far: list, filter, show one, compare two, other formats",
         "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
         "--percentile-alpha 0.9995 --log logs/percentile_experiments.jsonl\n"
         "scute log --last 5",
         run_log},
    Verb{"sites", "list the places that can be observed, or explain a name",
         "scute sites examples/tiny-mamba1 find layer_3.x_proj:input", run_sites},
    Verb{"merge", "add statistics files into one, as if collected at once",
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --take 16 "
         "--out part1.safetensors\n"
         "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --skip 16 "
         "--take 16 --out part2.safetensors\n"
         "scute merge part1.safetensors part2.safetensors --out stats.safetensors",
         run_merge},
    Verb{"dump", "logits and the tensors of chosen sites for given tokens",
         "scute dump examples/tiny-mamba1 --text examples/text/README.md --sites "
         "'layer_0.*:input' --out dump.safetensors",
         run_dump},
    Verb{"generate", "continue a text, token by token",
         "scute generate examples/tiny-mamba1 --prompt 'The sea was calm' --max-tokens 40",
         run_generate},
    Verb{"bench", "speed and memory on this machine, with a model or random weights",
         "scute bench --random mamba-130m --samples 2 --repeat 1\n"
         "scute bench --random mamba-130m --size --ttft --tpot --ttlt --gen-len 32",
         run_bench},
    Verb{"doctor", "check machine, model, tokenizer, data; estimate time and memory",
         "scute doctor examples/tiny-mamba1 --data examples/text/calibration.jsonl", run_doctor},
};

std::string overview() {
  Table table({{"verb", Table::Align::left}, {"what it does", Table::Align::left}});
  for (const Verb& verb : kVerbs) {
    table.add({"  " + std::string(verb.name), std::string(verb.summary)});
  }
  const std::string lines = table.text();
  return "scute measures the activations of Mamba models and decides quantization ranges.\n\n"
         "usage: scute VERB [options]\n\n" +
         lines.substr(lines.find('\n') + 1) +
         "\nscute VERB --help shows every flag and an example; scute --version the version.\n"
         "Exit code 0: success, 1: the work failed, 2: wrong usage.\n";
}

int run(const Arguments& arguments, Output& out) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      (arguments[0] == "help" && arguments.size() == 1)) {
    out.write(overview());
    return kDone;
  }
  if (arguments[0] == "--version") {
    out.write("scute " SCUTE_VERSION "\n");
    return kDone;
  }
  if (arguments[0] == "help") return find_verb(arguments[1]).run({"--help"}, out);
  return find_verb(arguments[0]).run({arguments.begin() + 1, arguments.end()}, out);
}

int report(int code, std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::fputs(fmt::format("scute: error: {}\n", text).c_str(), stderr);
  return code;
}

int run_reporting(const Arguments& arguments) {
  Output out(Output::To::standard_output);
  try {
    int code = kDone;
    try {
      code = run(arguments, out);
    } catch (...) {
      out.finish();  // what was found before the error is still shown
      throw;
    }
    out.finish();
    return code;
  } catch (const UsageError& error) {
    return report(kWrongUsage, error.what());
  } catch (const std::bad_alloc&) {
    return report(kFailed, "memory: expected enough, found none left; fewer --threads need less");
  } catch (const std::exception& error) {
    return report(kFailed, error.what());
  }
}

}  // namespace

std::span<const Verb> verbs() { return kVerbs; }

const Verb& find_verb(std::string_view name) {
  std::vector<std::string> names;
  for (const Verb& verb : kVerbs) {
    if (verb.name == name) return verb;
    names.emplace_back(verb.name);
  }
  throw UsageError(fmt::format("unknown verb \"{}\"{} (scute --help lists them)", name,
                               did_you_mean(name, names)));
}

}  // namespace scute::cli

int main(int argc, char** argv) {
  // A closed pipe is then an error of write(), which Output understands, instead of death.
  ::signal(SIGPIPE, SIG_IGN);
  // So does a file that would grow beyond what the shell allows: a full disk then.
  ::signal(SIGXFSZ, SIG_IGN);
  return scute::cli::run_reporting({argv + 1, argv + argc});
}
