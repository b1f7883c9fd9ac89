// Language models: logits, state, perplexity, generation, sites.
#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "extension/arrays.h"
#include "extension/generation.h"
#include "extension/json.h"
#include "extension/models.h"
#include "extension/module.h"
#include "extension/work.h"
#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/evaluate/perplexity.h"
#include "scute/language/dump.h"
#include "scute/language/tokenizer_files.h"
#include "scute/recipe/kind.h"

namespace scute::python {

namespace nb = nanobind;

HowToRun how_to_run(const std::string& compute, const std::string& backend, int threads) {
  if (compute != "f32" && compute != "bf16") fail("compute", "f32 or bf16", compute);
  if (backend != "integer" && backend != "simulate") {
    fail("backend", "integer or simulate", backend);
  }
  require_at_least("threads", threads, 0);
  return {.execution = {compute == "f32" ? Compute::f32 : Compute::bf16,
                        backend == "integer" ? Backend::integer : Backend::simulate},
          .threads = threads};
}

std::vector<Site> chosen_sites(const SiteList& list, const std::vector<std::string>& globs) {
  std::set<std::string> wanted;
  for (const std::string& glob : globs) {
    for (const Site& site : list.match(glob, "sites")) wanted.insert(site.name);
  }
  std::vector<Site> out;
  for (const Site& site : list.sites()) {
    const bool taken = globs.empty() ? site.name != "lm_head:output" : wanted.contains(site.name);
    if (taken) out.push_back(site);
  }
  return out;
}

std::vector<std::string> site_names(const SiteList& list) {
  std::vector<std::string> out;
  for (const Site& site : list.sites()) out.push_back(site.name);
  return out;
}

namespace {

/// What a model remembers of a sequence, and of which model it is.
struct StateValue {
  std::shared_ptr<LanguageValue> of;
  State state;
  std::mutex guard = {};
};

std::shared_ptr<LanguageValue> load_language(const std::string& path, const std::string& compute,
                                             const std::string& backend, int threads,
                                             const std::string& tokenizer) {
  const HowToRun how = how_to_run(compute, backend, threads);
  ModelDescription description = describe_model(path);
  LanguageModel model = load_model(description, how.execution, LanguageModel::Head::packed);
  auto words = load_tokenizer(description, tokenizer);
  return std::make_shared<LanguageValue>(std::move(description), std::move(model), std::move(words),
                                         Threads(how.threads));
}

nb::object logits(const LanguageValue& value, nb::handle given) {
  const Tensor ids = token_ids(given);
  Tensor out;
  {
    const nb::gil_scoped_release released;
    out = dump(value.model, ids, {}, false, value.threads.count()).at(1).tensor;
  }
  return to_numpy(ids.rank() == 1 ? out.slice(0) : out);
}

/// Goes on from a state, which then has seen these tokens too.
nb::object go_on(const LanguageValue& value, nb::handle given, StateValue& state) {
  const Tensor ids = token_ids(given);
  if (ids.rank() != 1)
    fail("ids", "one sequence, (L), to go on from a state", to_string(ids.shape()));
  if (&*state.of != &value) fail("state", "a state of this model", "that of another");
  Tensor out(DType::f32, {ids.size(), value.model.config().vocabulary});
  {
    const nb::gil_scoped_release released;
    const std::lock_guard lock(state.guard);
    Run run;
    run.use(value.threads.team());
    const auto hidden = run.matrix(ids.size(), value.model.config().width);
    value.model.hidden(run, ids.values<int32_t>(), state.state, hidden);
    value.model.logits(run, hidden, out.mutable_matrix<float>());
  }
  return to_numpy(out);
}

nb::dict dumped(const LanguageValue& value, nb::handle given, const std::vector<std::string>& globs,
                bool stepwise) {
  const Tensor ids = token_ids(given);
  std::vector<NamedTensor> out;
  {
    const nb::gil_scoped_release released;
    const auto sites = chosen_sites(value.model.sites(), globs);
    out = dump(value.model, ids, sites, stepwise, value.threads.count());
  }
  return to_numpy(out);
}

nb::dict windows_json(const PerplexityResult& result) {
  std::vector<int64_t> starts, predictions;
  std::vector<double> nll;
  for (const WindowScore& window : result.windows) {
    starts.push_back(window.start);
    predictions.push_back(window.predictions);
    nll.push_back(window.nll);
  }
  nb::dict out;
  out["start"] = to_numpy(std::move(starts));
  out["predictions"] = to_numpy(std::move(predictions));
  out["nll"] = to_numpy(std::move(nll));
  return out;
}

nb::dict perplexity_of(const LanguageValue& value, nb::handle given, int64_t window,
                       std::optional<int64_t> stride, std::optional<int64_t> max_windows,
                       int64_t context, bool stepwise, nb::handle progress) {
  const Tensor ids = token_ids(given);
  if (ids.rank() != 1) fail("ids", "one stream of tokens, (L)", to_string(ids.shape()));
  const PerplexityOptions options{.window = window,
                                  .stride = stride.value_or(window),
                                  .max_windows = max_windows,
                                  .context = context,
                                  .feed = stepwise ? Feed::one_by_one : Feed::whole};
  PerplexityResult result;
  in_background(progress, [&](BackgroundWork& work) {
    const int64_t all = window < 1 || options.stride < 1
                            ? 0
                            : std::max<int64_t>(0, (ids.size() - window) / options.stride + 1);
    const int64_t total = std::min(all, max_windows.value_or(all));
    result = perplexity(score_by(value.model, value.threads, options.feed), ids.values<int32_t>(),
                        options, [&](int64_t done) { work.progress("perplexity", done, total); });
  });
  nb::dict out;
  out["perplexity"] = result.perplexity;
  out["mean_nll"] = result.mean_nll;
  out["standard_error"] = result.standard_error;
  out["predictions"] = result.predictions;
  out["window"] = window;
  out["stride"] = options.stride;
  out["windows"] = windows_json(result);
  return out;
}

nb::object encode(const LanguageValue& value, const std::string& text, bool beginning) {
  const Tokenizer& tokenizer = tokenizer_of(value);
  std::vector<int32_t> ids;
  in_background(nb::none(), [&](BackgroundWork& work) {
    ids = beginning ? tokenizer.encode_beginning(text, &work.stop)
                    : tokenizer.encode(text, &work.stop);
  });
  return to_numpy(std::move(ids));
}

GenerationValue* generated(const std::shared_ptr<LanguageValue>& value, nb::handle prompt,
                           int64_t max_tokens, const SamplingOptions& sampling, bool ignore_eos) {
  const Tokenizer& tokenizer = tokenizer_of(*value);
  const Tensor ids = token_ids(prompt);
  const auto begin = ids.values<int32_t>();
  GenerationJob job{.owner = value,
                    .model = &value->model,
                    .tokenizer = &tokenizer,
                    .before = {},
                    .prompt = {begin.begin(), begin.end()},
                    .options = {.sampling = sampling, .max_tokens = max_tokens},
                    .threads = value->threads};
  if (!ignore_eos) job.options.stop = stop_tokens(value->description, tokenizer);
  job.options.limit = std::min(tokenizer.size(), value->model.config().vocabulary);
  return new GenerationValue(std::move(job));
}

/// The parts of a state by name: "block_3.0.conv", "block_3.0.ssm" (floats or 8-bit codes).
template <class Visit>
void visit_parts(State& state, const Visit& visit) {
  for (size_t b = 0; b < state.blocks.size(); ++b) {
    auto& parts = state.blocks[b].parts;
    for (size_t p = 0; p < parts.size(); ++p) {
      const std::string name = fmt::format("block_{}.{}", b, p);
      if (std::holds_alternative<KeyValueCache>(parts[p])) {
        fail(name, "a part whose state is of fixed size", "the keys and values of attention");
      }
      if (auto* layer = std::get_if<LayerState>(&parts[p])) visit(name, *layer);
    }
  }
}

nb::dict state_arrays(StateValue& value) {
  nb::dict out;
  const std::lock_guard lock(value.guard);
  visit_parts(value.state, [&](const std::string& name, LayerState& layer) {
    const auto shape = [](auto view) {
      return std::vector<size_t>{static_cast<size_t>(view.rows), static_cast<size_t>(view.cols)};
    };
    out[(name + ".conv").c_str()] = to_numpy(layer.conv_values, shape(layer.conv));
    const std::string ssm = name + ".ssm";
    if (layer.ssm_codes.data != nullptr) {
      out[ssm.c_str()] = to_numpy(layer.ssm_code_values, shape(layer.ssm_codes));
    } else {
      out[ssm.c_str()] = to_numpy(layer.ssm_values, shape(layer.ssm));
    }
  });
  return out;
}

template <class T>
void read_part(const nb::dict& arrays, const std::string& name, std::vector<T>& into) {
  if (!arrays.contains(name.c_str())) fail("state", "the array " + name, "none");
  const nb::object array = safe_array(nb::object(arrays[name.c_str()]), name.c_str());
  nb::ndarray<const T, nb::c_contig, nb::device::cpu> values;
  if (!import_array(array, values) || values.size() != into.size()) {
    fail(name, fmt::format("{} values of the type that State.arrays() has", into.size()),
         nb::cast<std::string>(nb::repr(nb::getattr(array, "shape", nb::none()))));
  }
  std::copy_n(values.data(), into.size(), into.begin());
}

/// All of them or an Error.
void set_state_arrays(StateValue& value, const nb::dict& arrays) {
  const std::lock_guard lock(value.guard);
  State next = value.state.copy();
  size_t parts = 0;
  visit_parts(next, [&](const std::string& name, LayerState& layer) {
    read_part(arrays, name + ".conv", layer.conv_values);
    if (layer.ssm_codes.data != nullptr) {
      read_part(arrays, name + ".ssm", layer.ssm_code_values);
    } else {
      read_part(arrays, name + ".ssm", layer.ssm_values);
    }
    parts += 2;
  });
  if (arrays.size() != parts) {
    fail("state", fmt::format("{} arrays", parts), std::to_string(arrays.size()));
  }
  value.state = std::move(next);
}

void bind_state(nb::module_& module) {
  nb::class_<StateValue> type(module, "State",
                              "What a language model remembers of the tokens it has seen.");
  type.def_prop_rw(
      "position", [](const StateValue& s) { return s.state.place.position; },
      [](StateValue& s, int64_t position) {
        require_at_least("position", position, 0);
        s.state.place.position = position;
      },
      "Tokens seen: what the rounding of a low-bit state is keyed by.");
  type.def_prop_ro(
      "nbytes", [](const StateValue& s) { return s.state.bytes(); }, "Its memory.");
  type.def(
      "copy",
      [](StateValue& s) {
        const std::lock_guard lock(s.guard);
        return std::shared_ptr<StateValue>(new StateValue{s.of, s.state.copy()});
      },
      "Another one that goes on from here by itself.");
  type.def(
      "arrays", &state_arrays,
      nb::sig("def arrays(self) -> dict[str, numpy.typing.NDArray[typing.Any]]"),
      "Copies of the layers' states by name: \"block_3.0.conv\", (K - 1, channels) float32, and\n"
      "\"block_3.0.ssm\", float32 or, of a low-bit state, int8 codes. Error where a part is\n"
      "attention, whose keys and values grow.");
  type.def(
      "set_arrays", &set_state_arrays, nb::arg("arrays"),
      nb::sig("def set_arrays(self, arrays: dict[str, numpy.typing.NDArray[typing.Any]]) -> None"),
      "The inverse; Error, and nothing changed, unless they are all there and of the same sizes.");
}

void bind_kind(nb::module_& module) {
  module.def(
      "kind_of",
      [](const std::string& path) {
        switch (kind_of(path)) {
          case ModelKind::language:
            return "language";
          case ModelKind::cobra:
            return "cobra";
          default:
            return "regressor";
        }
      },
      nb::arg("path"), nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace

void bind_language(nb::module_& module) {
  bind_kind(module);
  bind_state(module);
  nb::class_<LanguageValue> type(module, "Language", "What the package's LanguageModel wraps.");
  type.def_static("load", &load_language, nb::arg("path"), nb::arg("compute"), nb::arg("backend"),
                  nb::arg("threads"), nb::arg("tokenizer"),
                  nb::call_guard<nb::gil_scoped_release>());
  type.def_prop_ro("name", [](const LanguageValue& v) { return v.description.name; });
  type.def_prop_ro(
      "config", [](const LanguageValue& v) { return to_python(v.description.json); },
      nb::for_getter(nb::sig("def config(self) -> dict")));
  type.def_prop_ro("low_bit", [](const LanguageValue& v) { return v.description.low_bit; });
  type.def_prop_ro("vocabulary",
                   [](const LanguageValue& v) { return v.model.config().vocabulary; });
  type.def_prop_ro("remarks", [](const LanguageValue& v) { return v.description.remarks; });
  type.def("sites", [](const LanguageValue& v) { return site_names(v.model.sites()); });
  type.def("logits", &logits, nb::arg("ids"));
  type.def("go_on", &go_on, nb::arg("ids"), nb::arg("state"));
  type.def(
      "state",
      [](const std::shared_ptr<LanguageValue>& v, int64_t sequence) {
        return std::shared_ptr<StateValue>(new StateValue{v, v->model.new_state(sequence)});
      },
      nb::arg("sequence"));
  type.def("dump", &dumped, nb::arg("ids"), nb::arg("sites"), nb::arg("stepwise"));
  type.def("perplexity", &perplexity_of, nb::arg("ids"), nb::arg("window"),
           nb::arg("stride").none(), nb::arg("max_windows").none(), nb::arg("context"),
           nb::arg("stepwise"), nb::arg("progress").none());
  type.def("encode", &encode, nb::arg("text"), nb::arg("beginning"),
           nb::sig("def encode(self, text: str, beginning: bool) -> "
                   "numpy.typing.NDArray[numpy.int32]"));
  type.def(
      "decode",
      [](const LanguageValue& v, const std::vector<int32_t>& ids) {
        const std::string text = tokenizer_of(v).decode(ids);
        return nb::steal<nb::str>(
            PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
      },
      nb::arg("ids"));
  type.def("generate", &generated, nb::arg("prompt"), nb::arg("max_tokens"), nb::arg("sampling"),
           nb::arg("ignore_eos"));
}

}  // namespace scute::python
