// Allows a client what lies below `devices/<its username>/`, and has no opinion on other topics.

#include "plugin.h"
#include <string.h>

static const char PREFIX[] = "devices/";
static const size_t PREFIX_LENGTH = sizeof PREFIX - 1;

static bool starts_with(const plugin_string_t *text, size_t at, const void *start, size_t length) {
    return text->len >= at + length && memcmp(text->ptr + at, start, length) == 0;
}

// A username with a slash or a wildcard would reach into topics of others.
static bool is_one_level(const plugin_string_t *username) {
    for (size_t at = 0; at < username->len; at++) {
        if (strchr("/+#", username->ptr[at]) != NULL) return false;
    }
    return username->len > 0;
}

// The exports own what they are given, so each frees its arguments.

bool exports_hookmq_plugin_hooks_authorize(
    exports_hookmq_plugin_hooks_client_t *client, exports_hookmq_plugin_hooks_access_t *access,
    exports_hookmq_plugin_hooks_authorize_verdict_t *verdict, plugin_string_t *error
) {
    (void)error;
    const plugin_string_t *username = &client->username;
    const plugin_string_t *topic = &access->topic;
    size_t below = PREFIX_LENGTH + username->len;
    bool is_own = is_one_level(username)
        && starts_with(topic, 0, PREFIX, PREFIX_LENGTH)
        && starts_with(topic, PREFIX_LENGTH, username->ptr, username->len)
        && starts_with(topic, below, "/", 1);
    verdict->tag = is_own ? HOOKMQ_PLUGIN_TYPES_AUTHORIZE_VERDICT_ALLOW
                          : HOOKMQ_PLUGIN_TYPES_AUTHORIZE_VERDICT_ABSTAIN;
    exports_hookmq_plugin_hooks_client_free(client);
    exports_hookmq_plugin_hooks_access_free(access);
    return true;
}

bool exports_hookmq_plugin_hooks_configure(plugin_string_t *config, plugin_string_t *error) {
    bool is_null = starts_with(config, 0, "null", 4);
    if (!is_null) plugin_string_dup(error, "this plugin has no configuration");
    plugin_string_free(config);
    return is_null;
}

// The manifest does not name these, so they are never called.

bool exports_hookmq_plugin_hooks_connect(
    exports_hookmq_plugin_hooks_connect_attempt_t *attempt,
    exports_hookmq_plugin_hooks_connect_verdict_t *verdict, plugin_string_t *error
) {
    (void)verdict;
    exports_hookmq_plugin_hooks_connect_attempt_free(attempt);
    plugin_string_dup(error, "not a connect step");
    return false;
}

bool exports_hookmq_plugin_hooks_publish(
    exports_hookmq_plugin_hooks_client_t *client, exports_hookmq_plugin_hooks_message_t *message,
    exports_hookmq_plugin_hooks_publish_verdict_t *verdict, plugin_string_t *error
) {
    (void)verdict;
    if (client != NULL) exports_hookmq_plugin_hooks_client_free(client);
    exports_hookmq_plugin_hooks_message_free(message);
    plugin_string_dup(error, "not a publish step");
    return false;
}

bool exports_hookmq_plugin_hooks_deliver(
    exports_hookmq_plugin_hooks_client_t *client, exports_hookmq_plugin_hooks_message_t *message,
    exports_hookmq_plugin_hooks_deliver_verdict_t *verdict, plugin_string_t *error
) {
    (void)verdict;
    if (client != NULL) exports_hookmq_plugin_hooks_client_free(client);
    exports_hookmq_plugin_hooks_message_free(message);
    plugin_string_dup(error, "not a deliver step");
    return false;
}
