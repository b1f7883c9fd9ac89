// The entries of a zip archive as what scute keeps beside its outputs: parts of collections, of
// Hessians and of evaluations, markers of writers, items, undo steps. Seals are made to fit, so
// that what is behind them is read: each is taken, or an Error.
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

#include "scute/base/hash.h"
#include "scute/base/json.h"
#include "scute/experiments/score_json.h"
#include "scute/io/claim_marker.h"
#include "scute/io/file.h"
#include "scute/io/sealed_tensors.h"
#include "scute/language/hessian_parts.h"
#include "scute/recipe/edit_history.h"
#include "scute/recipe/kept_items_folder.h"
#include "scute/recipe/part_folder.h"
#include "tests/fuzz/bounds.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/refusal.h"

namespace scute::fuzz_kept {
namespace {

using scute::fuzz::may_be_refused;

/// A line of an evaluation's part with the beginning of the SHA-256 of what stands before it.
std::string sealed_line(const std::string& line) {
  constexpr std::string_view kCheck = ",\"check\":\"";
  const size_t at = line.rfind(kCheck);
  if (at == std::string::npos) return line;
  const std::string members = line.substr(0, at);
  return members + std::string(kCheck) + scute::sha256(members).substr(0, 16) + "\"}";
}

void seal_lines(const std::string& name, std::string& content) {
  if (!name.ends_with(".jsonl")) return;
  std::string out;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    out += sealed_line(content.substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  content = std::move(out);
}

void seal_tensors(const std::string& path) {
  scute::SafetensorsFile file = scute::read_safetensors(path);
  if (file.metadata.erase(scute::kContentHash) == 0) return;
  scute::write_sealed_tensors(path, file.tensors, file.metadata);
}

void read_marker(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  scute::is_proven_dead(scute::read_marker(descriptor));
  ::close(descriptor);
}

void take_back(const std::string& path) {
  scute::Json recipe = scute::Json::parse(scute::read_text(path, 1 << 20), "recipe");
  while (scute::step_count(recipe, "recipe") > 0) {
    const scute::EditStep step = scute::remove_step(recipe, "recipe");
    for (const auto& document : step.documents) {
      may_be_refused([&] { scute::take_back_changes(recipe, document.second, document.first); });
    }
    for (const scute::EditedTensor& edited : step.tensors) {
      const scute::Tensor now(scute::DType::f32, {2});
      may_be_refused([&] { scute::taken_back(edited.bytes, now, edited.tensor); });
    }
  }
}

void read_items(const std::string& results, const std::string& items) {
  const scute::Json json = scute::Json::parse(scute::read_text(results, 1 << 20), "results");
  scute::Score score = scute::read_score(json, scute::Json::object());
  scute::is_not_finite(json);
  scute::read_items(items, score);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size, 512);
  const scute::fuzz::MemoryFolder folder({data, size}, seal_lines);
  for (const std::string& name : folder.names()) {
    if (name.ends_with(".safetensors")) may_be_refused([&] { seal_tensors(folder / name); });
  }
  may_be_refused([&] { scute::merge_parts(folder.path(), {.threads = 1}); });
  may_be_refused([&] {
    if (scute::holds_hessian_parts(folder.path())) scute::merge_hessian_parts(folder.path());
  });
  may_be_refused([&] { read_marker(folder / "marker.json"); });
  may_be_refused([&] { take_back(folder / "recipe.json"); });
  may_be_refused([&] { read_items(folder / "results.json", folder / "items.jsonl"); });
  may_be_refused([&] {
    scute::KeptItemsFolder kept(folder.path(), "key", "scute eval", std::nullopt);
    if (const scute::Json* values = kept.items().find("task", 0)) {
      scute::number_of(*values, "x");
    }
  });
  return 0;
}

}  // namespace scute::fuzz_kept
