// Every family against references in float64 (shared/golden/families, and small ones made by
// scripts/make_families.py): logits, and the input of every Linear module that was recorded.
#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "scute/io/safetensors.h"
#include "scute/language/dump.h"
#include "scute/language/model_folder.h"
#include "tests/language/golden_tensors.h"

namespace scute::families_golden_test {
namespace {

using test::by_name;
using test::distance;
using test::Tensors;

/// Sums of n products in float32 err by about √n·2^-24 of their magnitude (5e-7 for n = 64),
/// layers, the scan's feedback and cancellation cost up to a factor of 20; measured: logits 4e-6,
/// inputs 9e-6 at worst. It tells apart the smallest rule that is pinned, the rounding of
/// Falcon-H1's multipliers (2e-5). Zamba2's reference rounds its norms to f32, which moves inputs
/// by 1e-5 itself.
double tolerance_of(const std::string& folder) {
  return folder.find("zamba2") == folder.npos ? 1.5e-5 : 1e-4;
}

/// layer_3.q_proj:input of input/model.layers.3.self_attn.q_proj: the module's own name, behind
/// what some families put around it. Empty for what is no site of ours.
std::string site_of_module(std::string name) {
  constexpr std::string_view kInput = "input/", kLayers = "layers.";
  if (!name.starts_with(kInput)) return "";
  name = name.substr(kInput.size());
  if (name.ends_with("lm_head")) return "lm_head:input";
  name = name.substr(name.find(kLayers) + kLayers.size());
  const size_t dot = name.find('.');
  const std::string layer = "layer_" + name.substr(0, dot) + ".";
  std::string op = name.substr(dot + 1);
  if (op.find("adapter_list") != op.npos) return "";
  constexpr auto kWords = std::to_array<std::pair<std::string_view, std::string_view>>({
      {"shared_transformer.", "shared."},
      {"mamba_decoder.", ""},
      {"self_attn.", ""},
      {"shared_mlp.input_linear", "gate_proj"},
      {"shared_mlp.output_linear", "down_proj"},
      {"block_sparse_moe.router.layer", "router"},
      {"feed_forward.", ""},
      {"moe.", ""},
      {"mamba.", ""},
      {"mixer.", ""},
      {"mlp.", ""},
      {"gate_up_proj", "gate_proj"},
      {"fc1_latent_proj", "latent_in"},
      {"fc2_latent_proj", "latent_out"},
  });
  for (const auto& [from, to] : kWords) {
    const size_t at = op.find(from);
    if (at != op.npos) op.replace(at, from.size(), to);
  }
  if (op == "gate") op = "router";
  if (op == "linear") op = "shared.linear";
  return layer + op + ":input";
}

/// The module's own name, or ours where a family's word is another one: Granite's shared MLP beside
/// experts, a Jamba without experts as it was first published, state-spaces' attention and MLP.
const Site* find_site(const SiteList& sites, const std::string& name) {
  const size_t dot = name.find('.') + 1;
  const std::string layer = name.substr(0, dot), op = name.substr(dot);
  std::vector<std::string> candidates{name, layer + "shared_experts." + op};
  for (const auto& [from, to] : {std::pair("experts.0.", ""), std::pair("in_proj", "q_proj"),
                                 std::pair("out_proj", "o_proj"), std::pair("fc1", "gate_proj"),
                                 std::pair("fc2", "down_proj")}) {
    if (op.starts_with(from)) candidates.push_back(layer + to + op.substr(strlen(from)));
  }
  for (const std::string& candidate : candidates) {
    const Site* found = sites.find(candidate);
    if (found != nullptr && found->extent != Site::Extent::routed) return found;
  }
  return nullptr;
}

void compare_family(const std::string& folder) {
  SCOPED_TRACE(folder);
  const Tensors golden = by_name(read_safetensors(folder + "/golden.safetensors").tensors);
  const LanguageModel model =
      load_model(describe_model(folder), Compute::f32, LanguageModel::Head::packed);
  std::vector<std::pair<std::string, Site>> sites;
  for (const auto& [name, tensor] : golden) {
    const std::string ours = site_of_module(name);
    if (ours.empty()) continue;
    const Site* site = find_site(model.sites(), ours);
    ASSERT_NE(site, nullptr) << name << ", " << ours;
    sites.emplace_back(name, *site);
  }
  std::vector<Site> wanted;
  for (const auto& [name, site] : sites) {
    if (std::ranges::find(wanted, site.name, &Site::name) == wanted.end()) wanted.push_back(site);
  }
  ASSERT_FALSE(sites.empty());
  const Tensor& ids = golden.at("ids");
  const Tensors whole = by_name(dump(model, ids, wanted, /*stepwise=*/false, 1));
  const Tensors steps = by_name(dump(model, ids, wanted, /*stepwise=*/true, 1));
  const double tolerance = tolerance_of(folder);
  const double logits = distance(whole.at("logits"), golden.at("logits"));
  double inputs = 0;
  EXPECT_LE(logits, tolerance);
  // The same bits, however tokens are cut into calls.
  EXPECT_EQ(distance(steps.at("logits"), whole.at("logits")), 0);
  for (const auto& [name, site] : sites) {
    const double ratio = distance(whole.at("site/" + site.name), golden.at(name));
    EXPECT_LE(ratio, tolerance) << name;
    inputs = std::max(inputs, ratio);
  }
  std::printf("%s: %zu inputs; differences of the largest: logits %.1e, inputs %.1e\n",
              folder.c_str(), sites.size(), logits, inputs);
}

/// The models that scripts/make_families.py made for this build.
std::vector<std::string> made_models() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(SCUTE_FAMILIES)) {
    if (std::filesystem::exists(entry.path() / "golden.safetensors")) {
      out.push_back(entry.path().string());
    }
  }
  std::ranges::sort(out);
  return out;
}

TEST(MadeFamilies, LogitsAndInputsAreTheReferences) {
  const auto folders = made_models();
  ASSERT_EQ(folders.size(), 38U);  // 27, and 11 with outliers
  for (const std::string& folder : folders) compare_family(folder);
}

class FamilyGolden : public testing::TestWithParam<const char*> {};

TEST_P(FamilyGolden, LogitsAndInputsAreTheReferences) {
  const std::string folder = std::string("../shared/golden/families/") + GetParam();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  compare_family(folder);
}
INSTANTIATE_TEST_SUITE_P(All, FamilyGolden,
                         testing::Values("mamba1-bias", "falcon-mamba", "mamba2-codestral", "bamba",
                                         "granite-h-dense", "granite-h-moe", "falcon-h1",
                                         "nemotron-h-dense", "nemotron-h-moe", "jamba", "zamba2"));

}  // namespace
}  // namespace scute::families_golden_test
