// The engine against float64: every model with a golden.safetensors, whole sequences and token by
// token, every site that the file holds; and identities for sites without a reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "scute/io/safetensors.h"
#include "scute/language/dump.h"
#include "scute/language/model_folder.h"
#include "tests/language/golden_tensors.h"

namespace scute::models_golden_test {
namespace {

using test::by_name;
using test::distance;
using test::largest;
using test::Tensors;

// Sums of n products in float32 err by about √n·2^-24 of their magnitude (1e-6 for n = 512); six
// layers, the scan's feedback and cancellation cost up to a factor of 50. Measured: 3e-6 at worst.
constexpr double kFloat32 = 1e-4;

/// Shown by the float64 reference of Mamba-2 without being sites.
bool is_site(const std::string& name) {
  return name.starts_with("site/") && !name.ends_with("conv1d:output") &&
         !name.ends_with("norm:input");
}

struct Worst {
  double ratio = 0;
  std::string name;
  void see(const std::string& tensor, double ratio_seen) {
    EXPECT_LE(ratio_seen, kFloat32) << tensor;
    if (ratio_seen < ratio) return;
    ratio = ratio_seen;
    name = tensor;
  }
};

std::vector<std::string> models_in(const std::string& folder) {
  std::vector<std::string> out;
  if (!std::filesystem::is_directory(folder)) return out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (std::filesystem::exists(entry.path() / "golden.safetensors")) {
      out.push_back(entry.path().string());
    }
  }
  std::ranges::sort(out);
  return out;
}

/// Compares logits and sites of one folder with its golden.safetensors.
void compare_model(const std::string& folder) {
  SCOPED_TRACE(folder);
  const Tensors golden = by_name(read_safetensors(folder + "/golden.safetensors").tensors);
  const LanguageModel model =
      load_model(describe_model(folder), Compute::f32, LanguageModel::Head::packed);
  std::vector<Site> sites;
  for (const auto& [name, tensor] : golden) {
    if (!is_site(name)) continue;
    const Site* site = model.sites().find(name.substr(5));
    ASSERT_NE(site, nullptr) << name;
    EXPECT_EQ("site/" + site->name, name);
    sites.push_back(*site);
  }
  ASSERT_GE(sites.size(), 14U);  // tiny-mamba2: 7 sites of two layers
  const Tensor& ids = golden.at("ids");
  const Tensors whole = by_name(dump(model, ids, sites, /*stepwise=*/false, 1));
  const Tensors steps = by_name(dump(model, ids, sites, /*stepwise=*/true, 1));

  Worst prefill, stepwise, apart;
  for (const auto& [name, reference] : golden) {
    if (name != "logits" && !is_site(name)) continue;
    ASSERT_GT(largest(reference), 0) << name;
    prefill.see(name, distance(whole.at(name), reference));
    stepwise.see(name, distance(steps.at(name), reference));
    apart.see(name, distance(steps.at(name), whole.at(name)));
  }
  std::printf(
      "%s: %zu sites; worst difference of the largest magnitude: prefill %.1e (%s), "
      "stepwise %.1e, between them %.1e\n",
      folder.c_str(), sites.size(), prefill.ratio, prefill.name.c_str(), stepwise.ratio,
      apart.ratio);
}

TEST(Golden, OurOwnModelsWithEverySite) {
  const auto folders = models_in("tests/golden");
  ASSERT_EQ(folders.size(), 2U);
  for (const std::string& folder : folders) {
    compare_model(folder);
    const Tensors golden = by_name(read_safetensors(folder + "/golden.safetensors").tensors);
    const SiteList sites = LanguageModelSites(describe_model(folder).config).list;
    for (const Site& site : sites.sites()) {
      if (site.extent == Site::Extent::per_step) continue;
      EXPECT_TRUE(golden.contains("site/" + site.name)) << folder << " " << site.name;
    }
  }
}

TEST(Golden, BundledTrainedModels) {
  const auto folders = models_in("examples");
  ASSERT_EQ(folders.size(), 2U);
  for (const std::string& folder : folders) compare_model(folder);
}

TEST(Golden, CheckpointsInEveryDialect) {
  const auto folders = models_in("../shared/golden/models");
  if (folders.empty()) GTEST_SKIP() << "SKIPPED: ../shared not present";
  EXPECT_GE(folders.size(), 4U);
  for (const std::string& folder : folders) compare_model(folder);
}

TEST(Golden, Bf16StaysNear) {
  // Both factors of every product are rounded to 8 bits (2^-9 each); errors of single products
  // average out, those of a rounded residual stream's inputs do not: a few per cent, no more.
  for (const char* folder : {"examples/tiny-mamba1", "examples/tiny-mamba2"}) {
    const Tensors golden =
        by_name(read_safetensors(std::string(folder) + "/golden.safetensors").tensors);
    const LanguageModel model =
        load_model(describe_model(folder), Compute::bf16, LanguageModel::Head::packed);
    const Tensors got = by_name(dump(model, golden.at("ids"), {}, false, 1));
    const double ratio = distance(got.at("logits"), golden.at("logits"));
    std::printf("%s in bf16: logits differ by %.1e of the largest\n", folder, ratio);
    EXPECT_LE(ratio, 0.05) << folder;
    EXPECT_GT(ratio, 1e-5) << folder << ": nothing was rounded";
  }
}

/// All sites of a bundled model for its golden ids.
Tensors all_sites(const std::string& folder) {
  const LanguageModel model =
      load_model(describe_model(folder), Compute::f32, LanguageModel::Head::packed);
  const Tensors golden = by_name(read_safetensors(folder + "/golden.safetensors").tensors);
  return by_name(dump(model, golden.at("ids"), model.sites().sites(), false, 1));
}

/// The tensors side by side, in the last dimension.
std::vector<float> joined(const Tensors& tensors, const std::vector<std::string>& names) {
  std::vector<float> out;
  const int64_t rows = tensors.at(names.front()).matrix<float>().rows;
  for (int64_t r = 0; r < rows; ++r) {
    for (const std::string& name : names) {
      const auto part = tensors.at(name).matrix<float>();
      out.insert(out.end(), part.row(r), part.row(r) + part.cols);
    }
  }
  return out;
}

std::vector<float> values_of(const Tensor& tensor) {
  const auto all = tensor.values<float>();
  return {all.begin(), all.end()};
}

TEST(Identities, Mamba1ProjectionsAreTheirParts) {
  const Tensors t = all_sites("examples/tiny-mamba1");
  for (int i = 0; i < 6; ++i) {
    const std::string layer = "site/layer_" + std::to_string(i) + ".";
    EXPECT_EQ(values_of(t.at(layer + "in_proj:output")),
              joined(t, {layer + "conv1d:input", layer + "z_act:input"}));
    EXPECT_EQ(values_of(t.at(layer + "x_proj:output")),
              joined(t, {layer + "dt_proj:input", layer + "B_act:input", layer + "C_act:input"}));
  }
}

TEST(Identities, Mamba2ProjectionIsItsParts) {
  const Tensors t = all_sites("examples/tiny-mamba2");
  for (int i = 0; i < 6; ++i) {
    const std::string layer = "site/layer_" + std::to_string(i) + ".";
    EXPECT_EQ(
        values_of(t.at(layer + "in_proj:output")),
        joined(t, {layer + "z_act:input", layer + "x_conv_in:input", layer + "B_conv_in:input",
                   layer + "C_conv_in:input", layer + "dt_act:input"}));
  }
}

/// The causal convolution and SiLU of channel c, in double.
double convolved(MatView<const float> x, int64_t t, int64_t c, std::span<const float> weight,
                 std::span<const float> bias, int64_t taps) {
  double sum = bias[static_cast<size_t>(c)];
  for (int64_t k = 0; k < taps; ++k) {
    const int64_t from = t - (taps - 1) + k;
    if (from >= 0) sum += double{weight[static_cast<size_t>(c * taps + k)]} * x.row(from)[c];
  }
  return sum / (1 + std::exp(-sum));
}

TEST(Identities, Mamba2ConvolutionInFloat64) {
  const std::string folder = "examples/tiny-mamba2";
  const Tensors t = all_sites(folder);
  const Weights weights = read_weights(describe_model(folder));
  double worst = 0;
  for (int i = 0; i < 6; ++i) {
    const std::string mixer = "backbone.layers." + std::to_string(i) + ".mixer.conv1d.";
    const Tensor weight = weights.at(mixer + "weight").to_f32();
    const Tensor bias = weights.at(mixer + "bias").to_f32();
    const int64_t taps = weight.dim(2);
    int64_t first = 0;  // channel of the convolution at which this part begins
    for (const char* part : {"x", "B", "C"}) {
      const std::string site = "site/layer_" + std::to_string(i) + "." + part;
      const auto in = t.at(site + "_conv_in:input").matrix<float>();
      const auto out = t.at(site + "_conv_out:input").matrix<float>();
      const auto w = weight.values<float>().subspan(static_cast<size_t>(first * taps));
      const auto b = bias.values<float>().subspan(static_cast<size_t>(first));
      double difference = 0;
      for (int64_t r = 0; r < out.rows; ++r) {
        for (int64_t c = 0; c < out.cols; ++c) {
          difference =
              std::max(difference, std::abs(out.row(r)[c] - convolved(in, r, c, w, b, taps)));
        }
      }
      // Four products and one exponential in float32: a few 2^-24 (6e-8) of the terms.
      const double ratio = difference / largest(t.at(site + "_conv_out:input"));
      EXPECT_LE(ratio, 1e-5) << site;
      worst = std::max(worst, ratio);
      first += in.cols;
    }
    EXPECT_EQ(first, weight.dim(0));
  }
  std::printf("convolution against float64: %.1e of the largest magnitude\n", worst);
}

}  // namespace
}  // namespace scute::models_golden_test
