#include "scute/language/gptq_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "scute/base/error.h"
#include "scute/language/hessian_checkpoint.h"

namespace scute {
namespace {

constexpr std::string_view kLayerStem = "layer-", kSums = "sums", kMatrices = "matrices";

std::string layer_stem(int64_t step) { return fmt::format("layer-{}", step); }
std::string matrices_stem(int64_t step) { return fmt::format("matrices-{}", step); }

/// The step of "layer-STEP"; −1 for another name.
int64_t step_of(std::string_view stem) {
  if (!stem.starts_with(kLayerStem)) return -1;
  int64_t out = -1;
  std::from_chars(stem.data() + kLayerStem.size(), stem.data() + stem.size(), out);
  return out;
}

const std::string& metadata_of(const SafetensorsFile& file, std::string_view name,
                               const std::string& path) {
  const auto found = file.metadata.find(std::string(name));
  if (found == file.metadata.end()) fail(path, fmt::format("the metadata key {}", name), "none");
  return found->second;
}

GptqReport report_of(const Json& json, const std::string& where) {
  // NaN is written as null: nothing but zeros came in.
  const auto number = [&](const char* name) {
    const Json& value = json.at(name, where);
    return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_double(where);
  };
  GptqReport out;
  out.damping = number("damping");
  out.attempts = static_cast<int>(json.at("attempts", where).as_int(where));
  out.dead = json.at("dead_inputs", where).as_int(where);
  out.error = number("error");
  out.error_nearest = number("error_nearest");
  return out;
}

}  // namespace

Json to_json(const GptqReport& report) {
  Json out = Json::object();
  out["damping"] = report.damping;
  out["attempts"] = report.attempts;
  out["dead_inputs"] = report.dead;
  out["error"] = report.error;
  out["error_nearest"] = report.error_nearest;
  return out;
}

GptqCheckpoint::GptqCheckpoint(WorkKeeping how, Json key)
    : files_(std::move(how), std::move(key)), kept_at_(steady_seconds()) {
  read_last_step();
}

/// Of the steps that are whole, with all matrices before them; the other files will be written
/// again.
void GptqCheckpoint::read_last_step() {
  std::vector<int64_t> steps;
  for (const std::string& stem : files_.stems()) {
    if (const int64_t step = step_of(stem); step >= 0) steps.push_back(step);
  }
  std::ranges::sort(steps, std::greater());
  for (const int64_t step : steps) {
    const std::string path = files_.path(layer_stem(step));
    const auto file = files_.read(layer_stem(step));
    if (!file) continue;
    const Json of = Json::parse(metadata_of(*file, kMatrices, path), path);
    std::vector<std::pair<std::string, SafetensorsFile>> matrices;
    std::vector<int64_t> numbers;
    for (const Json& number : of.as_array(path)) {
      numbers.push_back(number.as_int(path));
      const std::string stem = matrices_stem(numbers.back());
      if (auto one = files_.read(stem)) matrices.emplace_back(stem, *std::move(one));
    }
    if (matrices.size() < numbers.size()) {
      files_.tell(
          fmt::format("{}: expected the files of its matrices beside it ({}), found {}; begun anew",
                      path, numbers.size(), matrices.size()));
      continue;
    }
    for (const auto& [stem, one] : matrices) read_matrices(stem, one);
    files_of_matrices_ = std::move(numbers);
    last_ = step;
    resumed_ = {step, {}, path};
    SafetensorsFile sums;
    for (const NamedTensor& item : file->tensors) {
      const bool is_sum = item.name.starts_with(kSums);
      auto& to = is_sum ? sums.tensors : resumed_.carried;
      to.push_back({is_sum ? item.name.substr(kSums.size()) : item.name, item.tensor});
    }
    waiting_ = grams_of(sums, path);
    return;
  }
}

void GptqCheckpoint::read_matrices(const std::string& stem, const SafetensorsFile& file) {
  const std::string path = files_.path(stem);
  const Json all = Json::parse(metadata_of(file, kMatrices, path), path);
  for (const auto& [name, one] : all.as_object(path)) {
    Matrix& matrix = finished_[name];
    for (const Json& tensor : one.at("tensors", path).as_array(path)) {
      const auto found =
          std::ranges::find(file.tensors, tensor.as_string(path), &NamedTensor::name);
      if (found == file.tensors.end()) fail(path, tensor.as_string(path), "none");
      matrix.tensors.push_back(*found);
    }
    if (const Json* report = one.find("report")) matrix.report = report_of(*report, path);
  }
}

void GptqCheckpoint::add(std::string name, Matrix matrix) {
  if (files_.how().keeps()) added_[std::move(name)] = std::move(matrix);
}

void GptqCheckpoint::end_step(const LayeredHessians::Step& step, const SiteGrams& waiting) {
  const WorkKeeping& how = files_.how();
  if (!how.keeps()) return;
  windows_ += step.windows;
  const bool cancelled = how.is_cancelled();
  // Waiting for one more step of the same length would lose more than was asked for.
  const bool due = (how.windows && windows_ + step.windows > *how.windows) ||
                   (how.seconds && steady_seconds() - kept_at_ >= *how.seconds);
  if ((due || cancelled) && write(step, waiting)) {
    kept_at_ = steady_seconds();
    windows_ = 0;
  }
  if (cancelled) fail(how.folder, "all layers", "an interruption");
}

bool GptqCheckpoint::write(const LayeredHessians::Step& step, const SiteGrams& waiting) {
  std::vector<NamedTensor> tensors;
  Json of = Json::object();
  for (const auto& [name, matrix] : added_) {
    Json& one = of[name];
    one["tensors"] = Json::array();
    for (const NamedTensor& tensor : matrix.tensors) {
      one["tensors"].push_back(tensor.name);
      tensors.push_back(tensor);
    }
    if (matrix.report) one["report"] = to_json(*matrix.report);
  }
  std::vector<int64_t> numbers = files_of_matrices_;
  if (!added_.empty()) {
    if (!files_.write(matrices_stem(step.number), tensors, {{std::string(kMatrices), of.dump()}})) {
      return false;
    }
    numbers.push_back(step.number);
  }
  tensors = step.carried;
  for (const NamedTensor& sum : sum_tensors(waiting)) {
    tensors.push_back({std::string(kSums) + sum.name, sum.tensor});
  }
  Json list = Json::array();
  for (const int64_t number : numbers) list.push_back(number);
  if (!files_.write(layer_stem(step.number), tensors, {{std::string(kMatrices), list.dump()}})) {
    return false;
  }
  files_of_matrices_ = std::move(numbers);
  added_.clear();
  if (last_ >= 0) files_.remove(layer_stem(last_));
  last_ = step.number;
  return true;
}

}  // namespace scute
