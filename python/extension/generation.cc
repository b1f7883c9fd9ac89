#include "extension/generation.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <utility>

#include "cli/terminal/character_stream.h"
#include "extension/module.h"

namespace scute::python {

namespace nb = nanobind;

GenerationValue::GenerationValue(GenerationJob job) : job_(std::move(job)) {
  job_.options.sampling.check();
  job_.options.team = job_.threads.team();
}

GenerationValue::~GenerationValue() {
  const nb::gil_scoped_release released;
  close();
}

void GenerationValue::close() {
  {
    const std::lock_guard lock(guard_);
    stop_ = true;
    if (!thread_.joinable()) turn_ = Turn::over;
  }
  turned_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool GenerationValue::hand_over(std::string text) {
  std::unique_lock lock(guard_);
  text_ += text;
  if (text_.empty()) return !stop_;  // the token ended inside a character
  turn_ = Turn::caller;
  turned_.notify_all();
  turned_.wait(lock, [this] { return turn_ == Turn::maker || stop_; });
  return !stop_;
}

void GenerationValue::make() {
  cli::CharacterStream characters;
  try {
    const auto before =
        job_.before.rank() == 2 ? job_.before.matrix<float>() : MatView<const float>();
    const auto each = [&](int32_t id) {
      {
        const std::lock_guard lock(guard_);
        ids_.push_back(id);
      }
      return hand_over(characters.add(job_.tokenizer->decode({id}, true)));
    };
    const Generation made = generate(*job_.model, before, job_.prompt, job_.options, each);
    const std::lock_guard lock(guard_);
    if (!stop_) stopped_ = made.stopped ? "end-of-text" : "max-tokens";
  } catch (...) {
    const std::lock_guard lock(guard_);
    thrown_ = std::current_exception();
  }
  const std::lock_guard lock(guard_);
  text_ += characters.finish();
  turn_ = Turn::over;
  turned_.notify_all();
}

bool GenerationValue::wait_for_maker() {
  constexpr auto kPatience = std::chrono::milliseconds(50);
  std::unique_lock lock(guard_);
  return turned_.wait_for(lock, kPatience, [this] { return turn_ != Turn::maker; });
}

std::optional<std::string> GenerationValue::next() {
  {
    const std::lock_guard lock(guard_);
    if (turn_ == Turn::caller) turn_ = Turn::maker;
    if (!thread_.joinable() && turn_ == Turn::maker) thread_ = std::thread([this] { make(); });
  }
  turned_.notify_all();
  for (bool made = false; !made;) {
    {
      const nb::gil_scoped_release released;
      made = wait_for_maker();
    }
    if (PyErr_CheckSignals() != 0) {
      nb::python_error raised;
      const nb::gil_scoped_release released;
      close();
      throw raised;
    }
  }
  const std::lock_guard lock(guard_);
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  if (text_.empty()) return std::nullopt;
  return std::exchange(text_, {});
}

std::vector<int32_t> GenerationValue::ids() const {
  const std::lock_guard lock(guard_);
  return ids_;
}

std::string GenerationValue::stopped() const {
  const std::lock_guard lock(guard_);
  return stopped_;
}

void bind_generation(nb::module_& module) {
  nb::class_<SamplingOptions>(module, "Sampling", "How tokens are drawn.")
      .def(
          "__init__",
          [](SamplingOptions* self, double temperature, int64_t top_k, double top_p, double min_p,
             double repetition_penalty, uint64_t seed) {
            const SamplingOptions options{temperature,        top_k, top_p, min_p,
                                          repetition_penalty, seed};
            options.check();
            new (self) SamplingOptions(options);
          },
          nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"),
          nb::arg("repetition_penalty"), nb::arg("seed"));
  nb::class_<GenerationValue> type(module, "Generation",
                                   "Text as it is made: an iterator of str, whole characters. It "
                                   "stops at the text's end, after\n"
                                   "max_tokens, or with close(); Ctrl-C ends it.");
  type.def(
      "__iter__", [](nb::object self) { return self; },
      nb::sig("def __iter__(self) -> Generation"));
  type.def("__next__", [](GenerationValue& generation) {
    auto text = generation.next();
    if (!text) throw nb::stop_iteration();
    return std::move(*text);
  });
  type.def("close", &GenerationValue::close, nb::call_guard<nb::gil_scoped_release>(), "Ends it.");
  type.def_prop_ro("ids", &GenerationValue::ids, "Ids of the tokens so far.");
  type.def_prop_ro("stopped", &GenerationValue::stopped,
                   "What ended it: \"end-of-text\", \"max-tokens\", or \"\" until then.");
}

}  // namespace scute::python
