// Low-bit folders of every family's tiny model (scripts/make_families.py): written, loaded again,
// traced, edited, exported; and twins with planted outliers, where folding and rotating count.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/language/export.h"
#include "scute/language/scales.h"
#include "scute/language/trace.h"
#include "tests/language/test_low_bit_models.h"

namespace scute::families_low_bit_test {
namespace {

using fixtures::Folder;
using low_bit::plain;
using low_bit::plan_of;
using low_bit::random_statistics;

std::vector<std::string> family_names(bool outliers) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(SCUTE_FAMILIES)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.ends_with("-outliers") == outliers) out.push_back(name);
  }
  std::ranges::sort(out);
  return out;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::erase(name, '-');
  return name;
}

ModelDescription family_model(const std::string& name) {
  return describe_model(std::string(SCUTE_FAMILIES) + "/" + name);
}

std::vector<int32_t> some_tokens(const ModelDescription& model, int64_t count) {
  std::vector<int32_t> out;
  Random random(8);
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(
        static_cast<int32_t>(random.below(static_cast<uint64_t>(model.config.vocabulary))));
  }
  return out;
}

/// Root of the mean square of the logits' difference, as a share of the plain model's.
double share_of_error(const ModelDescription& model, const LanguageModel& low) {
  const auto ids = some_tokens(model, 48);
  const Tensor a = low_bit::logits_of(low, ids), b = low_bit::logits_of(plain(model), ids);
  double error = 0, all = 0;
  const auto x = a.values<float>(), y = b.values<float>();
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(double{x[i]} - double{y[i]}, 2);
    all += std::pow(double{y[i]}, 2);
  }
  return std::sqrt(error / all);
}

class FamilyFolders : public testing::TestWithParam<std::string> {
 protected:
  Folder folder_;
  ModelDescription model_ = family_model(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Families, FamilyFolders, testing::ValuesIn(family_names(false)),
                         test_name);

TEST_P(FamilyFolders, AreWrittenLoadedTracedEditedAndExported) {
  const StatisticsSet statistics = random_statistics(model_, folder_);
  for (const char* format : {"W8A8", "W4A8", "W8A16", "W4A16"}) {
    SCOPED_TRACE(format);
    QuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    const std::string path = folder_.path(format);
    const LowBitModel low =
        quantize(model_, plan_of(statistics, "minmax"), &statistics, nullptr, options);
    EXPECT_EQ(write_low_bit(low, path, false).tokens, 64);  // the same bits, else an Error
    const ModelDescription stored = describe_model(path);
    EXPECT_EQ(stored.config, model_.config);
    EXPECT_EQ(stored.scheme, low.description.scheme);
    EXPECT_LT(share_of_error(model_, plain(stored)), 1);

    const std::string floats = path + "-plain";
    export_dequantized(stored, DType::f32, floats, false);
    const double apart = compare_logits(plain(stored), plain(describe_model(floats)), 3).largest;
    // Without 8-bit activations and states it is the same model.
    if (!options.format.eight_bit_activations()) {
      EXPECT_LT(apart, 1e-4);
    }

    const Trace trace = trace_scales(path);
    for (const StoredScale& scale : trace.stored()) EXPECT_NE(scale.site, "") << scale.tensor;
    if (!options.format.eight_bit_activations()) continue;
    const std::string site = trace.stored().front().site;
    const FolderEdit edit = edit_folder(path, {RangeEdit::parse(site + "*=0.5")});
    EXPECT_FALSE(edit.changes.empty());
    write_folder_edit(edit);
    EXPECT_EQ(trace_scales(path).edits, 1);
    write_folder_edit(undo_folder(path, 1));
  }
}

class FamilyOutliers : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, FamilyOutliers, testing::ValuesIn(family_names(true)),
                         test_name);

/// Of the inputs of a layer's parts: the gain of SQNR in dB, on average, of 8 bits over the largest
/// magnitude.
double gain_of_rotation(const Plan& plan) {
  constexpr std::string_view kRotated = "@rotated";
  double sum = 0, count = 0;
  for (const auto& [site, rotated] : plan.sites) {
    if (!site.ends_with(kRotated) || site.starts_with("lm_head")) continue;
    const std::string name = site.substr(0, site.size() - kRotated.size());
    const std::string op = name.substr(name.find('.') + 1);
    if (op != "in_proj:input" && op != "q_proj:input" && op != "gate_proj:input" &&
        op != "up_proj:input") {
      continue;
    }
    sum += rotated.sqnr - plan.sites.at(name).sqnr;
    count += 1;
  }
  EXPECT_GT(count, 0);
  return sum / count;
}

ModelDescription in_f32(const ModelDescription& model) {
  const Weights stored = read_weights(model);
  Weights wide(model.path);
  for (const std::string& name : stored.names()) wide.add(name, stored.at(name).to_f32());
  ModelDescription out = model;
  out.embedded = std::make_shared<ModelDescription::Embedded>(
      ModelDescription::Embedded{std::move(wide), std::string(64, 'a')});
  return out;
}

TEST_P(FamilyOutliers, AreSpreadByFoldingAndRotatingTheStream) {
  const Folder folder;
  const ModelDescription model = family_model(GetParam());
  const StatisticsSet statistics = random_statistics(model, folder);
  const double gain = gain_of_rotation(plan_of(statistics, "minmax"));
  RecordProperty("gain_dB", fmt::format("{:.1f}", gain));
  EXPECT_GT(gain, 3);
  // And it changes nothing else, where edited matrices are not rounded to bf16 again.
  const ModelDescription wide = in_f32(model);
  EXPECT_LT(share_of_error(wide, build_model(low_bit::all_float(wide), Execution{})), 1e-4);
}

}  // namespace
}  // namespace scute::families_low_bit_test
