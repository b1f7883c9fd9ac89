// The loop over tokens takes no memory from the system once it runs: a program of its own, because
// it replaces operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "scute/evaluate/generate.h"
#include "scute/kernels/elementwise.h"
#include "tests/language/test_low_bit_models.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCUTE_OWN_NEW 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SCUTE_OWN_NEW 0
#endif
#endif
#ifndef SCUTE_OWN_NEW
#define SCUTE_OWN_NEW 1
#endif

namespace {

std::atomic<int64_t> allocations{0};

}  // namespace

#if SCUTE_OWN_NEW
// The other forms of new and delete call these.
void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto to = static_cast<size_t>(alignment);
  if (void* memory = std::aligned_alloc(to, (size + to - 1) / to * to)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace scute::allocation_test {
namespace {

struct Allocation {
  const char* model;
  const char* format;  ///< empty: floats
  int threads;
};

LanguageModel model_of(const Allocation& tested) {
  const ModelDescription model = describe_model(std::string("examples/") + tested.model);
  const std::string format = tested.format;
  if (format.empty()) return low_bit::plain(model);
  QuantizeOptions options;
  options.format = LayerFormat::parse(format, "");
  options.embedding = options.head = true;
  if (options.format.activation_bits == 16) {
    return build_model(quantize(model, Plan{}, nullptr, nullptr, options), Execution{});
  }
  const fixtures::Folder folder;
  const StatisticsSet statistics = low_bit::random_statistics(model, folder);
  return build_model(quantize(model, low_bit::plan_of(statistics), &statistics, nullptr, options),
                     Execution{});
}

class Allocations : public testing::TestWithParam<Allocation> {
 protected:
  void SetUp() override {
    if (SCUTE_OWN_NEW == 0) GTEST_SKIP() << "SKIPPED: a sanitizer has its own operator new";
  }
};
std::vector<Allocation> all_cases() {
  std::vector<Allocation> out;
  for (const char* model : {"tiny-mamba1", "tiny-mamba2"}) {
    for (const char* format : {"", "W8A8", "W4A8", "W4A16"}) {
      for (const int threads : {1, 2}) out.push_back({model, format, threads});
    }
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Tiny, Allocations, testing::ValuesIn(all_cases()), [](const auto& tested) {
  const Allocation& one = tested.param;
  return std::string(one.model).substr(5) + (*one.format == 0 ? "Float" : one.format) +
         (one.threads == 1 ? "Alone" : "Shared");
});

TEST_P(Allocations, AStepAfterTheFirstTakesNone) {
  const LanguageModel model = model_of(GetParam());
  const Threads threads(GetParam().threads);
  scute::Run run;
  run.use(threads.team());
  State state = model.new_state();
  const auto hidden = run.matrix(1, model.config().width);
  const auto logits = run.matrix(1, model.config().vocabulary);
  int32_t id = 3;
  const auto step = [&] {
    model.hidden(run, {&id, 1}, state, hidden);
    model.logits(run, hidden, logits);
    id = static_cast<int32_t>(argmax(logits.data, logits.cols));
  };
  const int64_t before = allocations;
  step();
  EXPECT_GT(allocations, before) << "nothing is counted";
  const int64_t after_first = allocations;
  for (int i = 0; i < 8; ++i) step();
  EXPECT_EQ(allocations, after_first);
}

TEST_P(Allocations, ATokenOfGenerationAfterTheFirstTakesNone) {
  const LanguageModel model = model_of(GetParam());
  const Threads threads(GetParam().threads);
  for (const double temperature : {0.0, 1.0}) {
    const std::vector<int32_t> prompt = {1, 2, 3};
    GenerateOptions options;
    options.sampling.temperature = temperature;
    options.sampling.top_k = 20;
    options.max_tokens = 12;
    options.team = threads.team();
    std::vector<int64_t> counts(12);
    size_t at = 0;
    generate(model, prompt, options, [&](int32_t) {
      counts[at++] = allocations;
      return true;
    });
    EXPECT_EQ(counts.back(), counts[1]) << "temperature " << temperature;
  }
}

}  // namespace
}  // namespace scute::allocation_test
