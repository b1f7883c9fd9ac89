#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <signal.h>

#include <array>

#include "cli/command_line.h"
#include "extension/module.h"

namespace scute::python {
namespace {

/// What the process did on these signals, put back at the end.
class KeptSignals {
 public:
  KeptSignals() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], nullptr, &kept_[i]);
  }
  ~KeptSignals() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &kept_[i], nullptr);
  }
  KeptSignals(const KeptSignals&) = delete;
  KeptSignals& operator=(const KeptSignals&) = delete;

 private:
  static constexpr std::array<int, 5> kSignals{SIGINT, SIGTERM, SIGPIPE, SIGXFSZ, SIGBUS};
  std::array<struct sigaction, kSignals.size()> kept_{};
};

}  // namespace

namespace nb = nanobind;

void bind_command_line(nb::module_& module) {
  module.def(
      "command_line",
      [](const std::vector<std::string>& words) {
        const KeptSignals kept;
        return cli::command_line(words);
      },
      nb::arg("words"), nb::call_guard<nb::gil_scoped_release>(),
      "Runs `scute WORDS…` in this process and returns its exit code: 0 success, 1 the work "
      "failed,\n"
      "2 wrong usage, 3 done but not recorded. Ctrl-C meanwhile is the program's.");
}

}  // namespace scute::python
