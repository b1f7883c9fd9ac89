#include "scute/cobra/picture_score.h"

#include "scute/text/utf8.h"

namespace scute {
namespace {

Metric picture_metric(const std::string& name, const std::string& unit, MetricForm form,
                      std::vector<std::string> value) {
  Metric out;
  out.name = name;
  out.unit = unit;
  out.form = form;
  out.words.label = out.words.brief = name;
  out.words.items = "pictures";
  out.words.group = "picture";
  out.place = {"", std::move(value), "picture", ""};
  return out;
}

Metric divergence_metric() {
  Metric out = picture_metric("divergence", "nats", MetricForm::ratio, {"divergence"});
  out.words.heading = "divergence";
  out.words.about = "of the next token's distribution from the reference's";
  return out;
}

Metric same_token_metric() {
  Metric out = picture_metric("same_argmax", "share", MetricForm::share, {"same_argmax"});
  out.direction = MetricDirection::higher;
  out.words.label = "same next token";
  out.words.brief = out.words.heading = "same token";
  out.words.about = "of pictures with the reference's next token";
  return out;
}

Metric relative_metric(const std::string& stage) {
  Metric out =
      picture_metric(stage + ".relative_error", "", MetricForm::ratio, {stage, "relative_error"});
  out.words.label = out.words.brief = stage + " relative error";
  return out;
}

Metric cosine_metric(const std::string& stage) {
  Metric out = picture_metric(stage + ".cosine", "", MetricForm::mean, {stage, "cosine"});
  out.direction = MetricDirection::higher;
  out.words.label = out.words.brief = stage + " cosine";
  return out;
}

/// JSON holds nothing else.
std::string readable_path(const std::string& text) {
  std::string storage;
  return std::string(with_valid_utf8(text, storage));
}

}  // namespace

Score picture_score(const PictureComparison& comparison, const std::string& images,
                    const std::string& against_sha256) {
  const std::vector<ProtocolFact> protocol{{"file", readable_path(images), ""},
                                           {"sha256", comparison.pictures_sha256, ""},
                                           {"reference", against_sha256, ""},
                                           {"text", comparison.text.dump(), ""},
                                           {"n", std::ssize(comparison.items), ""}};
  Score out;
  const auto add = [&](Metric metric, auto value_of) {
    std::vector<ScoredItem> items;
    for (const PictureErrors& item : comparison.items) {
      items.push_back({readable_path(item.picture), value_of(item)});
    }
    out.push_back(score_of_items(std::move(metric), std::move(items), protocol));
  };
  add(divergence_metric(), [](const PictureErrors& item) { return item.divergence; });
  add(same_token_metric(), [](const PictureErrors& item) { return item.same_argmax ? 1.0 : 0.0; });
  for (size_t s = 0; s < comparison.stages.size(); ++s) {
    const std::string& stage = comparison.stages[s];
    add(relative_metric(stage), [s](const PictureErrors& item) { return item.stages[s].relative; });
    add(cosine_metric(stage), [s](const PictureErrors& item) { return item.stages[s].cosine; });
  }
  return out;
}

}  // namespace scute
