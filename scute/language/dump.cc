#include "scute/language/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "scute/base/checked.h"
#include "scute/base/threads.h"

namespace scute {
namespace {

/// Copies what one sequence shows into the rows of the output tensors that belong to it.
class Keeper : public Tap {
 public:
  Keeper(std::map<int, Tensor>& kept, int64_t sequence) : kept_(kept), sequence_(sequence) {}

  /// Token from which the next tensors count (one token at a time).
  void at(int64_t position) { position_ = position; }

  bool wants(const Site& site) const override { return kept_.contains(site.index); }
  void see(const Site& site, MatView<const float> x) override {
    Tensor& all = kept_.at(site.index);
    const int64_t per_sequence = all.size() / all.dim(0);
    const bool per_token = site.extent == Site::Extent::per_token;
    float* to = all.mutable_values<float>().data() + sequence_ * per_sequence +
                (per_token ? position_ * x.cols : 0);
    for (int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r), x.cols, to + r * x.cols);
  }

 private:
  std::map<int, Tensor>& kept_;
  int64_t sequence_;
  int64_t position_ = 0;
};

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

Shape shape_of(const Site& site, int64_t batch, int64_t length) {
  Shape shape{batch};
  if (site.extent == Site::Extent::per_token) shape.push_back(length);
  shape.insert(shape.end(), site.shape.begin(), site.shape.end());
  return shape;
}

}  // namespace

std::vector<NamedTensor> dump(const LanguageModel& model, const Tensor& given,
                              const std::vector<Site>& sites, bool stepwise, int threads) {
  const Tensor ids = ids_as_i32(given);
  const int64_t batch = ids.dim(0), length = ids.dim(1);
  std::map<int, Tensor> kept;
  for (const Site& site : sites) {
    // States in the middle belong to no fixed shape; ask for the last one of shorter sequences.
    if (site.extent == Site::Extent::per_step) continue;
    kept.emplace(site.index, Tensor(DType::f32, shape_of(site, batch, length)));
  }
  Tensor logits(DType::f32, {batch, length, model.config().vocabulary});
  const auto logit_rows = logits.mutable_matrix<float>();
  const auto all_ids = ids.values<int32_t>();

  Threads(threads).for_each(batch, [&](int64_t b, int) {
    Keeper keeper(kept, b);
    Run run(&keeper);
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
  for (const Site& site : sites) {
    const auto found = kept.find(site.index);
    if (found != kept.end()) out.push_back({"site/" + site.name, found->second});
  }
  return out;
}

}  // namespace scute
