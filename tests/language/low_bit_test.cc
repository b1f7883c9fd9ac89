// Low-bit models on the bundled models: both executions, the 8-bit state, and what each option
// leaves of the logits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "scute/base/error.h"
#include "scute/evaluate/compare.h"
#include "scute/evaluate/perplexity.h"
#include "scute/language/calibration.h"
#include "scute/quantize/weight.h"
#include "tests/language/test_low_bit_models.h"

namespace scute::low_bit_test {
namespace {

using fixtures::Folder;
using low_bit::correlation;
using low_bit::find;
using low_bit::plain;

/// One bundled model, its statistics of a few documents, and tokens of another text.
struct Subject {
  ModelDescription model;
  StatisticsSet statistics;
  Plan plan;
  std::vector<int32_t> stream;
};

std::unique_ptr<Subject> make_subject(const std::string& name) {
  auto out = std::make_unique<Subject>();
  out->model = describe_model("examples/" + name);
  CollectOptions options;
  options.data = {"examples/text/calibration.jsonl"};
  options.windows.samples = 8;
  options.windows.seqlen = 128;
  out->statistics = collect(out->model, options, {.threads = 2}).statistics;
  out->plan = low_bit::plan_of(out->statistics);
  WindowOptions windows{.samples = 4, .seqlen = 384, .shuffle = 1};
  for (const Window& window :
       calibration_windows(out->model, {"examples/text/heldout.jsonl"}, windows, {}).windows) {
    out->stream.insert(out->stream.end(), window.ids.begin(), window.ids.end());
  }
  return out;
}

/// Of a block that is a mixer and nothing else.
LayerState& mixer_state(State& state, size_t block) {
  return std::get<LayerState>(state.blocks[block].parts.front());
}

class LowBit : public testing::TestWithParam<const char*> {
 protected:
  static const Subject& subject() {
    static std::map<std::string, std::unique_ptr<Subject>> all;
    auto& one = all[GetParam()];
    if (one == nullptr) one = make_subject(GetParam());
    return *one;
  }
  static bool mamba1() { return subject().model.config.mixer == MixerKind::mamba1; }
  static LowBitModel low_bit_model(const QuantizeOptions& options) {
    const Subject& s = subject();
    return quantize(s.model, s.plan, &s.statistics, nullptr, options);
  }
  static std::span<const int32_t> tokens(size_t count) {
    return std::span(subject().stream).first(count);
  }
  /// With the float model's logits on 128 tokens of text.
  static double likeness(const LowBitModel& low) {
    const auto ids = tokens(128);
    return correlation(low_bit::logits_of(plain(subject().model), ids),
                       low_bit::logits_of(build_model(low, Execution{}), ids));
  }
};
INSTANTIATE_TEST_SUITE_P(Tiny, LowBit, testing::Values("tiny-mamba1", "tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(5); });

PerplexityResult score(const LanguageModel& model, std::span<const int32_t> stream,
                       Feed feed = Feed::whole, int threads = 2) {
  return perplexity(model, stream, {.window = 64, .stride = 64, .feed = feed}, Threads(threads));
}

TEST_P(LowBit, BothExecutionsHaveTheSamePerplexityTo1In1000) {
  for (const char* format : {"W8A8", "W4A8", "W8A16", "W4A16"}) {
    SCOPED_TRACE(format);
    QuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    options.embedding = options.head = true;
    const LowBitModel low = low_bit_model(options);
    const auto stream = tokens(768);
    const auto integer = score(build_model(low, {Compute::f32, Backend::integer}), stream);
    const auto simulated = score(build_model(low, {Compute::f32, Backend::simulate}), stream);
    EXPECT_NEAR(compare(integer, simulated).ratio, 1, 1e-3);
  }
}

TEST_P(LowBit, TheHeadOfBothExecutionsGivesTheSameBits) {
  // 256 inputs: |sum| ≤ 256·127·128 < 2^24, exact in float too.
  QuantizeOptions options;
  options.head = true;
  const LowBitModel low = low_bit_model(options);
  const LanguageModel integer = build_model(low, {Compute::f32, Backend::integer});
  const LanguageModel simulated = build_model(low, {Compute::f32, Backend::simulate});
  Tensor hidden(DType::f32, {9, 256}), x(DType::f32, {9, 4096}), y(DType::f32, {9, 4096});
  Random random(6);
  for (float& v : hidden.mutable_values<float>()) v = static_cast<float>(5 * random.normal());
  scute::Run run;
  integer.logits(run, hidden.matrix<float>(), x.mutable_matrix<float>());
  simulated.logits(run, hidden.matrix<float>(), y.mutable_matrix<float>());
  EXPECT_TRUE(std::ranges::equal(x.bytes(), y.bytes()));
}

TEST_P(LowBit, PiecesOfASequenceGiveTheBitsOfTheWholeWithAFloatState) {
  QuantizeOptions options;
  options.state_scale = QuantizeOptions::StateScale::none;
  const LowBitModel low = low_bit_model(options);
  for (const Backend backend : {Backend::integer, Backend::simulate}) {
    const LanguageModel model = build_model(low, {Compute::f32, backend});
    const auto ids = tokens(41);
    const int64_t D = model.config().width;
    Tensor whole(DType::f32, {41, D}), pieces(DType::f32, {41, D});
    scute::Run run;
    State state = model.new_state(), again = model.new_state();
    model.hidden(run, ids, state, whole.mutable_matrix<float>());
    size_t t = 0;
    for (const size_t count : {1u, 1u, 2u, 3u, 34u}) {
      const auto rows = pieces.mutable_matrix<float>().slice_rows(static_cast<int64_t>(t),
                                                                  static_cast<int64_t>(count));
      model.hidden(run, ids.subspan(t, count), again, rows);
      t += count;
    }
    EXPECT_TRUE(std::ranges::equal(whole.bytes(), pieces.bytes()));
  }
}

TEST_P(LowBit, TheSameBitsForAnyNumberOfThreadsAndAnyOrderOfSequences) {
  const LanguageModel model = build_model(low_bit_model({}), Execution{});
  State fresh = model.new_state();
  ASSERT_GT(mixer_state(fresh, 0).ssm_codes.rows, 0) << "the state is not in 8 bits";
  const auto stream = tokens(512);
  const auto one = score(model, stream, Feed::one_by_one, 1);
  for (const int threads : {2, 5}) {
    const auto other = score(model, stream, Feed::one_by_one, threads);
    for (size_t i = 0; i < one.windows.size(); ++i) {
      EXPECT_EQ(one.windows[i].nll, other.windows[i].nll) << threads << " threads, window " << i;
    }
  }
  scute::Run run;
  for (const size_t i : {7u, 3u, 0u}) {
    const auto scored = score_continuation(model, run, stream.subspan(64 * i, 64), 0,
                                           Feed::one_by_one, static_cast<int64_t>(i));
    double nll = 0;
    for (const double x : scored.nll) nll += x;
    EXPECT_EQ(nll, one.windows[i].nll);
  }
}

TEST_P(LowBit, StochasticRoundingDependsOnTheSeedAndTheSequence) {
  QuantizeOptions options;
  const LowBitModel low = low_bit_model(options);
  options.seed = 43;
  const LanguageModel model = build_model(low, Execution{});
  const LanguageModel other = build_model(low_bit_model(options), Execution{});
  const auto codes = [&](const LanguageModel& m, int64_t sequence) {
    scute::Run run;
    State state = m.new_state(sequence);
    Tensor hidden(DType::f32, {20, m.config().width});
    m.hidden(run, tokens(20), state, hidden.mutable_matrix<float>());
    return std::move(mixer_state(state, 1).ssm_code_values);
  };
  EXPECT_EQ(codes(model, 0), codes(model, 0));
  EXPECT_NE(codes(model, 0), codes(model, 1));
  EXPECT_NE(codes(model, 0), codes(other, 0));
}

TEST_P(LowBit, AnEightBitStateCostsLittleWhenFedTokenByToken) {
  QuantizeOptions options;
  const LanguageModel rounded = build_model(low_bit_model(options), Execution{});
  options.state_scale = QuantizeOptions::StateScale::none;
  const LanguageModel exact = build_model(low_bit_model(options), Execution{});
  const auto ids = tokens(512);
  const PerplexityRatio ratio =
      compare(score(rounded, ids, Feed::one_by_one), score(exact, ids, Feed::one_by_one));
  EXPECT_NE(ratio.ratio, 1);
  // The target over 32 windows is 1.01 (issue); 8 short ones leave room for their noise.
  EXPECT_LT(ratio.ratio - 2 * ratio.standard_error, 1.02);
}

/// The least correlation 1/√(1 + noise/signal) of logits. 4 bits: a step is about 0.4 deviations of
/// a group's weights, so that each product adds 0.4²/12 = 1.3 % of its square; up to six of these
/// on the way (embedding, layers that matter, head) are 8 %: 0.96. Found: 0.976 (a scale a row) to
/// 0.997. 8 bits: 1 % is as much as static ranges of unrotated inputs cost; found 0.997 to 0.9997.
/// A scale, fold or rotation in the wrong place gives less than 0.9.
constexpr double kFourBits = 0.96, kEightBits = 0.995;

struct Variant {
  const char* name;
  const char* format;
  std::function<void(QuantizeOptions&)> change;
};

TEST_P(LowBit, EveryOptionRunsAndStaysCloseToTheFloatModel) {
  using StateScale = QuantizeOptions::StateScale;
  const std::vector<Variant> variants{
      {"plain", "W8A8", [](auto&) {}},
      {"per tensor", "W8A8", [](auto& o) { o.per_tensor = true; }},
      {"shared scales", "W8A8", [](auto& o) { o.shared_scales = true; }},
      {"unrotated", "W8A8", [](auto& o) { o.hadamard = false; }},
      {"state per tensor", "W8A8", [](auto& o) { o.state_scale = StateScale::tensor; }},
      {"state nearest", "W8A8", [](auto& o) { o.state_rounding = Scheme::StateRounding::nearest; }},
      {"embedding", "W8A8", [](auto& o) { o.embedding = true; }},
      {"head", "W8A8", [](auto& o) { o.head = true; }},
      {"both, per tensor", "W8A8", [](auto& o) { o.per_tensor = o.embedding = o.head = true; }},
      {"W4A8", "W4A8", [](auto&) {}},
      {"W4A8, groups of 64, table", "W4A8",
       [](auto& o) {
         o.group = 64;
         o.embedding = o.head = true;
       }},
      {"W4A8, embedding alone", "W4A8", [](auto& o) { o.embedding = true; }},
      {"W4A16", "W4A16", [](auto&) {}},
      {"W4A16, unrotated", "W4A16", [](auto& o) { o.hadamard = false; }},
      {"W4A16, a scale a row, table", "W4A16",
       [](auto& o) {
         o.group = 100000;
         o.embedding = o.head = true;
       }},
  };
  for (const Variant& variant : variants) {
    SCOPED_TRACE(variant.name);
    QuantizeOptions options;
    options.format = LayerFormat::parse(variant.format, "");
    variant.change(options);
    if (options.shared_scales && !mamba1()) {
      EXPECT_THROW(low_bit_model(options), Error);  // its parts have scales each
      continue;
    }
    const double found = likeness(low_bit_model(options));
    EXPECT_GT(found, options.format.weight_bits == 8 ? kEightBits : kFourBits);
    EXPECT_LT(found, 1) << "nothing was rounded";
  }
}

TEST_P(LowBit, AHybridListGivesEachLayerItsFormat) {
  QuantizeOptions options;
  for (const char* name : {"FP", "W8A8", "W4A8", "W4A16", "FP", "W8A8"}) {
    options.hybrid.push_back(LayerFormats::all(LayerFormat::parse(name, "")));
  }
  const LowBitModel low = low_bit_model(options);
  const auto stored = [&](int layer, const char* tensor) {
    return find(low, "backbone.layers." + std::to_string(layer) + ".mixer." + tensor) != nullptr;
  };
  for (const int layer : {0, 4}) EXPECT_FALSE(stored(layer, "in_proj.weight_scale"));
  for (const int layer : {2, 3}) EXPECT_TRUE(stored(layer, "in_proj.weight_packed"));
  EXPECT_TRUE(stored(2, "in_proj.weight_channel_scale"));
  EXPECT_FALSE(stored(3, "in_proj.weight_channel_scale"));
  EXPECT_TRUE(stored(2, "selective_scan.u_scale"));
  for (const int layer : {0, 3, 4}) EXPECT_FALSE(stored(layer, "selective_scan.u_scale"));
  for (const auto& [site, decision] : low.plan.sites) {
    EXPECT_FALSE(site.starts_with("layer_0.") || site.starts_with("layer_3.")) << site;
  }
  EXPECT_GT(likeness(low), kFourBits);
}

TEST_P(LowBit, EmbeddingAndTiedHeadShareTheirCodes) {
  QuantizeOptions options;
  options.embedding = options.head = true;
  for (const char* format : {"W8A8", "W4A8", "W8A16", "W4A16"}) {
    SCOPED_TRACE(format);
    options.format = LayerFormat::parse(format, "");
    const LowBitModel low = low_bit_model(options);
    for (const NamedTensor& item : low.tensors) {
      EXPECT_FALSE(item.name.starts_with("lm_head.weight")) << item.name;
    }
    EXPECT_EQ(find(low, "lm_head.input_scale") != nullptr, options.format.eight_bit_activations());
    Weights weights("table");
    for (const NamedTensor& item : low.tensors) {
      if (item.name.starts_with("backbone.embeddings.")) weights.add(item.name, item.tensor);
    }
    WeightReader reader(weights);
    const LinearTensors table(reader, "backbone.embeddings", 4096, 256);
    const Tensor real = dequantize(table.weight_codes());
    Embedding embedding(table);
    Tensor row(DType::f32, {1, 256});
    const std::vector<int32_t> id{17};
    embedding(id, row.mutable_matrix<float>());
    EXPECT_TRUE(
        std::ranges::equal(row.values<float>(), real.values<float>().subspan(17 * 256, 256)));
  }
}

}  // namespace
}  // namespace scute::low_bit_test
