// Verbs of the program, for every kind of model: what Python's collect, quantize, evaluate, trace
// and scales are.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cli/terminal/listener.h"
#include "cli/terminal/options.h"
#include "cli/verbs.h"
#include "extension/json.h"
#include "extension/module.h"
#include "extension/work.h"
#include "scute/base/error.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

/// What a verb said.
struct Answer {
  int code = 0;
  std::string json;
  std::vector<std::string> notes, warnings;
};

/// One verb at a time: the terminal's choices are of the whole process.
std::mutex& one_verb() {
  static std::mutex guard;
  return guard;
}

void run(const std::vector<std::string>& words, BackgroundWork& work, Answer& answer) {
  std::unique_lock turn(one_verb(), std::defer_lock);
  while (!turn.try_lock()) {
    if (work.stop) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::mutex guard;
  cli::Listener listener;
  listener.progress = [&](const std::string& title, const std::string&, int64_t done,
                          int64_t total) { work.tell(title, done, total); };
  const auto keep = [&guard](std::vector<std::string>& lines) {
    return [&guard, &lines](const std::string& line) {
      const std::lock_guard lock(guard);
      lines.push_back(line);
    };
  };
  listener.note = keep(answer.notes);
  listener.warning = keep(answer.warnings);
  work.on_stop([&listener] { listener.stop = true; });
  const auto forget = [&work](void*) { work.on_stop({}); };
  const std::unique_ptr<void, decltype(forget)> forgotten(&work, forget);
  const cli::Listening listening(listener);
  cli::Output out(cli::Output::To::text);
  try {
    answer.code = cli::run_command(words, out);
  } catch (const cli::UsageError& error) {
    throw Error(error.what());
  }
  answer.json = out.text();
}

nb::tuple run_verb(const std::vector<std::string>& words, nb::handle progress) {
  Answer answer;
  in_background(progress, [&](BackgroundWork& work) { run(words, work, answer); });
  const nb::object json =
      answer.json.empty() ? nb::none() : to_python(Json::parse(answer.json, words.front()));
  return nb::make_tuple(answer.code, json, answer.notes, answer.warnings);
}

}  // namespace

void bind_verb(nb::module_& module) {
  module.def(
      "verb", &run_verb, nb::arg("words"), nb::arg("progress").none() = nb::none(),
      nb::sig("def verb(words: list[str], progress: collections.abc.Callable[[int, int, str], "
              "object] | None "
              "= None) -> tuple[int, typing.Any, list[str], list[str]]"),
      "Runs a verb with --json: (exit code, its answer, notes, warnings). Error with its words\n"
      "on wrong usage, too.");
}

}  // namespace scute::python
