#include "scute/cobra/trace.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/names.h"
#include "scute/cobra/low_bit_files.h"
#include "scute/cobra/matrices.h"

namespace scute {
namespace {

TracedLayer trace_bucket(const CobraLowBitFiles& files, const std::string& bucket) {
  TracedLayer out = trace_group(files.parts, files.scales_of(bucket));
  out.layer = kNoLayer;
  out.part = bucket;
  out.format = files.formats.at(bucket);
  if (files.parts.clips.contains(bucket)) out.clips.push_back(trace_clip(files.parts, bucket));
  return out;
}

/// "W8A16, not their bucket's format: vision.dino.blocks.0.attn.qkv", a format a sentence.
std::vector<std::string> other_formats(const CobraLowBitFiles& files) {
  std::map<std::string, std::vector<std::string>> names;
  for (const CobraMatrix& matrix : cobra_matrices(files.description.config)) {
    const auto found = files.matrices.find(matrix.name);
    if (found != files.matrices.end()) names[found->second].push_back(matrix.name);
  }
  std::vector<std::string> out;
  for (const auto& [format, matrices] : names) {
    out.push_back(fmt::format("{}, not the format of {} bucket: {}", format,
                              matrices.size() == 1 ? "its" : "their", first_few(matrices)));
  }
  return out;
}

}  // namespace

Trace trace_cobra(const std::string& folder) {
  const CobraLowBitFiles files = read_cobra_low_bit_files(folder);
  Trace out;
  if (files.language) {
    out = trace_scales(files.language->path);
  } else {
    out.mixer = files.description.config.language.mixer;
  }
  out.path = folder;
  out.parts = cobra_buckets(files.description.config);
  std::vector<std::string> notes = record_notes(files.parts);
  for (std::string& sentence : other_formats(files)) notes.push_back(std::move(sentence));
  if (!files.language) notes.emplace_back("llm: in floats, nothing inside it is rounded");
  for (const std::string& note : out.notes) {
    const bool said = std::ranges::find(notes, note) != notes.end();
    if (!said) notes.push_back("llm: " + note);
  }
  out.notes = std::move(notes);
  out.edits = recorded_edits(files.parts);
  std::vector<TracedLayer> parts;
  for (const std::string& bucket : out.parts) parts.push_back(trace_bucket(files, bucket));
  out.layers.insert(out.layers.begin(), std::make_move_iterator(parts.begin()),
                    std::make_move_iterator(parts.end()));
  return out;
}

}  // namespace scute
