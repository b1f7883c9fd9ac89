#include "scute/language/dump.h"

#include <algorithm>

#include "scute/base/checked.h"
#include "scute/base/threads.h"
#include "scute/language/site_keeper.h"

namespace scute {
namespace {

Tensor ids_as_i32(const Tensor& ids) {
  if (ids.rank() < 1 || ids.rank() > 2 || ids.size() == 0) {
    fail("ids", "an array of (B, L) or (L) token ids", to_string(ids.shape()));
  }
  Tensor out(DType::i32, ids.rank() == 2 ? ids.shape() : Shape{1, ids.dim(0)});
  const auto to = out.mutable_values<int32_t>();
  if (ids.dtype() == DType::i32) {
    std::ranges::copy(ids.values<int32_t>(), to.begin());
  } else {
    std::ranges::transform(ids.values<int64_t>(), to.begin(),
                           [](int64_t id) { return narrow<int32_t>(id, "ids"); });
  }
  return out;
}

}  // namespace

std::vector<NamedTensor> dump(const LanguageModel& model, const Tensor& given,
                              const std::vector<Site>& sites, bool stepwise, int threads) {
  const Tensor ids = ids_as_i32(given);
  const int64_t batch = ids.dim(0), length = ids.dim(1);
  KeptSites kept(batch);
  for (const Site& site : sites) {
    // Of states in the middle ask for the last one of shorter sequences.
    if (site.has_one_shape()) kept.add(site, length);
  }
  Tensor logits(DType::f32, {batch, length, model.config().vocabulary});
  const auto logit_rows = logits.mutable_matrix<float>();
  const auto all_ids = ids.values<int32_t>();

  const Threads pool(threads);
  pool.for_each(batch, [&](int64_t b, int worker) {
    SiteKeeper keeper(kept, b);
    Run run(&keeper);
    run.use(pool.team(worker));
    State state = model.new_state();
    const auto hidden = run.matrix(length, model.config().width);
    const int64_t step = stepwise ? 1 : length;
    for (int64_t t = 0; t < length; t += step) {
      keeper.at(t);
      const auto part =
          all_ids.subspan(static_cast<size_t>(b * length + t), static_cast<size_t>(step));
      model.hidden(run, part, state, hidden.slice_rows(t, step));
      model.logits(run, hidden.slice_rows(t, step), logit_rows.slice_rows(b * length + t, step));
    }
  });

  std::vector<NamedTensor> out{{"ids", ids}, {"logits", logits}};
  for (NamedTensor& one : kept.take()) out.push_back(std::move(one));
  return out;
}

}  // namespace scute
