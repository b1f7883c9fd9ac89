#include "cli/leftovers.h"

#include <fmt/format.h>

#include <cmath>

#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/leftovers.h"

namespace scute::cli {
namespace {

constexpr const char* kSubject = "leftovers";

std::string age_text(double seconds) {
  constexpr double kDay = 86400;
  return seconds < 2 * kDay ? duration_text(seconds)
                            : fmt::format("{:.0f} days", std::floor(seconds / kDay));
}

/// "outputs/q.writing: 3.2 MB, 2 days old, of process 7 on this host since …".
std::string words_of(const Leftover& left) {
  return fmt::format(
      "{}: {}, changed {} ago{}{}", printable(left.folder()), bytes_text(left.bytes),
      age_text(left.age), left.who.empty() ? "" : ", of " + printable(left.who),
      left.unfinished ? ", with unfinished work that the same command goes on with" : "");
}

/// Why it stays without --force, or with it too; "" when it need not.
const char* why_kept(const Leftover& left) {
  if (left.writer == Leftover::Writer::nobody) return "its .scute-writing is no record of scute's";
  if (left.writer == Leftover::Writer::unknown) return "nothing proves that its writer is gone";
  return left.unfinished ? "what is unfinished is kept" : "";
}

}  // namespace

void LeftoverFlags::declare(Options& options) {
  options.text("--leftovers", folder, "DIR",
               "list what interrupted writers left there and in folders below, four deep");
  options.flag("--clean", clean, "remove what they left there, when they are gone");
  options.flag("--force", force,
               "with --clean: also unfinished work, and what nothing proves the writer of gone "
               "(another host, no locks)");
  options.only_with({"--force"}, "--clean");
}

/// Unasked, what lies in the working folder itself.
LeftoverSearch LeftoverFlags::search() const {
  LeftoverSearch out;
  if (!clean && folder == kHere) out.depth = 1;
  return out;
}

void LeftoverFlags::note(Findings& findings) const {
  Leftovers all;
  const bool looked = findings.try_to(kSubject, "--leftovers DIR: a folder of outputs",
                                      [&] { all = find_leftovers(folder, search()); });
  if (!looked) return;
  for (const Leftover& left : all.found) {
    const std::string words = words_of(left);
    if (left.writer == Leftover::Writer::living) {
      findings.note(Level::ok, kSubject, words + "; being written");
      continue;
    }
    if (left.writer == Leftover::Writer::nobody) {
      findings.note(Level::warning, kSubject, words + "; " + why_kept(left),
                    "look into it, and move or remove it by hand: scute leaves it as it is");
      continue;
    }
    const std::string why = force ? "" : why_kept(left);
    if (!clean || !why.empty()) {
      const std::string command =
          fmt::format("scute doctor --leftovers {} --clean{}", shell_word(folder),
                      why_kept(left)[0] == '\0' ? "" : " --force");
      findings.note(Level::warning, kSubject, words + (why.empty() ? "" : "; " + why),
                    command + " removes it");
      continue;
    }
    const auto remove = [&] { remove_leftover(left, force); };
    if (findings.try_to(kSubject, "what is not of scute is for people to move", remove)) {
      findings.note(Level::ok, kSubject, words + "; removed");
    }
  }
  if (all.found.empty() && clean) findings.note(Level::ok, kSubject, "none in " + folder);
  if (!all.all && clean) {
    findings.note(Level::warning, kSubject, "not every folder was looked into",
                  "--leftovers DIR: one further down");
  }
}

}  // namespace scute::cli
