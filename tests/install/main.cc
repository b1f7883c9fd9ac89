// What a program of somebody else does with the library: collect, decide, quantize, eval.
#include <scute/decide/plan.h>
#include <scute/language/collect.h>
#include <scute/language/quantize.h>
#include <scute/language/scoring.h>

#include <cstdio>
#include <exception>

namespace {

int measure(const char* folder, const char* data, const char* text, const char* out) {
  const scute::ModelDescription model = scute::describe_model(folder);

  scute::CollectOptions how;
  how.data = {data};
  how.windows.samples = 8;
  const scute::CollectResult collected = scute::collect(model, how, {});

  const scute::Plan plan = scute::make_plan(collected.statistics.sites, {});

  const scute::LowBitModel low_bit =
      scute::quantize(model, plan, &collected.statistics, nullptr, {});
  scute::write_low_bit(low_bit, out, false);

  scute::ScoreOptions score;
  score.perplexity = text;
  score.windows = {.window = 256, .stride = 256, .max_windows = 4};
  const scute::ModelDescription written = scute::describe_model(out);
  const scute::ScoreWork work = scute::read_score_work(written, score);
  const auto loaded =
      scute::load_model(written, scute::Execution(), scute::LanguageModel::Head::packed);
  const scute::Scores scores = scute::score(loaded, work, score, scute::Threads(2));
  std::printf("%zu sites, perplexity %.3f\n", plan.sites.size(), scores.perplexity->perplexity);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count != 5) {
    std::fprintf(stderr, "usage: outside MODEL DATA TEXT OUT\n");
    return 2;
  }
  try {
    return measure(words[1], words[2], words[3], words[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
