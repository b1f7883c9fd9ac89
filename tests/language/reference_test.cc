// The bundled models against figures computed elsewhere: examples/tiny-mamba*/reference.json.
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/json.h"
#include "scute/evaluate/last_word.h"
#include "scute/evaluate/perplexity.h"
#include "scute/io/file.h"
#include "scute/language/collect.h"
#include "scute/language/last_word_items.h"
#include "scute/observe/distribution.h"

namespace scute::reference_test {
namespace {

class Reference : public testing::TestWithParam<const char*> {
 protected:
  std::string folder() const { return std::string("examples/") + GetParam(); }
  Json reference() const {
    const std::string path = folder() + "/reference.json";
    return Json::parse(read_text(path), path);
  }
};
INSTANTIATE_TEST_SUITE_P(Tiny, Reference, testing::Values("tiny-mamba1", "tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(5); });

TEST_P(Reference, PerplexityWithinATenthOfAPercent) {
  const ModelDescription description = describe_model(folder());
  const LanguageModel model = load_model(description, Compute::f32, LanguageModel::Head::packed);
  const auto tokenizer = load_tokenizer(description);
  const auto stream = read_stream("examples/text/heldout.txt", &*tokenizer);
  const Json expected = reference().at("perplexity", "reference");
  EXPECT_EQ(static_cast<int64_t>(stream.size()), expected.at("tokens_in_file", "r").as_int("r"));
  const auto got =
      perplexity(model, stream, {.window = 512, .stride = 512, .max_windows = {}}, Threads());
  EXPECT_EQ(got.predictions, expected.at("predictions", "r").as_int("r"));
  const double value = expected.at("value", "r").as_double("r");
  EXPECT_NEAR(got.perplexity, value, 0.001 * value);
  RecordProperty("perplexity", std::to_string(got.perplexity));
  std::printf("%s perplexity %.9f, reference %.9f, error %.6f\n", GetParam(), got.perplexity, value,
              got.standard_error);
  EXPECT_NEAR(got.standard_error, expected.at("standard_error_nll", "r").as_double("r"), 1e-4);
}

TEST_P(Reference, LastWordHitsWithinOneItem) {
  const ModelDescription description = describe_model(folder());
  const LanguageModel model = load_model(description, Compute::f32, LanguageModel::Head::packed);
  const auto tokenizer = load_tokenizer(description);
  const auto items = read_last_word_items("examples/text/last_word.jsonl", &*tokenizer,
                                          description.config.vocabulary);
  const auto got = last_word(model, items, Threads());
  const Json expected = reference().at("last_word", "reference");
  EXPECT_EQ(static_cast<int64_t>(got.items.size()), expected.at("items", "r").as_int("r"));
  EXPECT_NEAR(static_cast<double>(got.hits), expected.at("hits", "r").as_double("r"), 1);
  const double words = expected.at("perplexity_per_word", "r").as_double("r");
  EXPECT_NEAR(got.perplexity, words, 0.001 * words);
}

/// One percentile against the reference's: another float32 forward, so values may differ by 1e-4 of
/// the site's largest magnitude (the bound of the golden tests), plus half a bucket, 2^-9.
TEST_P(Reference, PercentilesOfEverySite) {
  CollectOptions options;
  options.data = {"examples/text/calibration.jsonl"};
  options.windows = {.samples = 512, .seqlen = 128, .shuffle = {}, .skip = 0, .take = 24};
  const auto got = collect(describe_model(folder()), options, {});
  EXPECT_EQ(got.samples, 24);
  int checked = 0;
  const Json sites = reference().at("percentiles", "r").at("sites", "r");
  for (const auto& [name, site] : sites.as_object("r")) {
    const auto found = got.statistics.sites.find(name);
    if (found == got.statistics.sites.end()) {
      // golden/README: these two need not exist.
      EXPECT_TRUE(name.ends_with(".conv1d:output") || name.ends_with(".norm:input")) << name;
      continue;
    }
    SCOPED_TRACE(name);
    const Distribution distribution(found->second);
    const double low = site.at("min", "r").as_double("r"),
                 high = site.at("max", "r").as_double("r");
    const double largest = std::max(std::abs(low), std::abs(high));
    EXPECT_EQ(static_cast<int64_t>(found->second.count), site.at("count", "r").as_int("r"));
    EXPECT_NEAR(found->second.min, low, 1e-4 * largest);
    EXPECT_NEAR(found->second.max, high, 1e-4 * largest);
    // Clang 14 lets no lambda hold a structured binding.
    const auto compare = [&, &expectations = site](const std::string& kind, auto quantile) {
      for (const auto& [key, value] : expectations.at(kind, "r").as_object("r")) {
        const double expected = value.as_double("r");
        EXPECT_NEAR(quantile(std::stod(key.substr(1)) / 100), expected,
                    std::abs(expected) * 0x1p-9 + 1e-4 * largest)
            << kind << " " << key;
        ++checked;
      }
    };
    compare("percentiles", [&](double share) { return distribution.quantile(share); });
    compare("magnitude", [&](double share) { return distribution.magnitude_quantile(share); });
  }
  EXPECT_GT(checked, 700);
}

}  // namespace
}  // namespace scute::reference_test
