"""Files as users of litellm's proxy have them."""

from typing import Final

#: One team, one vLLM and a cloud to fall back to.
SMALL_SHOP: Final = """
model_list:
  - model_name: qwen
    litellm_params:
      model: hosted_vllm/Qwen/Qwen2.5-72B-Instruct-AWQ
      api_base: http://vllm:8000/v1
      api_key: fake-key
      rpm: 600
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: sk-proj-abcdefghij0123456789
      organization: org-42
  - model_name: embed
    litellm_params:
      model: openai/text-embedding-3-small
      api_key: os.environ/OPENAI_API_KEY
    model_info:
      mode: embedding
litellm_settings:
  drop_params: True
  num_retries: 3
  request_timeout: 120
  set_verbose: False
  fallbacks: [{"qwen": ["gpt-4o"]}]
  context_window_fallbacks: [{"qwen": ["gpt-4o"]}]
general_settings:
  master_key: sk-1234-master
  database_url: "postgresql://litellm:hunter2@db:5432/litellm"
"""

#: Several Azure regions behind one name, with everything that balances load.
AZURE: Final = """
model_list:
  - model_name: gpt-4o
    litellm_params: &azure
      model: azure/gpt-4o-eu
      api_base: https://eu.openai.azure.com/
      api_key: os.environ/AZURE_EU_KEY
      api_version: "2024-08-01-preview"
      rpm: 480
      tpm: 100_000
      timeout: 300
      stream_timeout: 60
      max_retries: 2
      order: 1
    model_info: {base_model: azure/gpt-4o, id: eu-1}
  - model_name: gpt-4o
    litellm_params:
      <<: *azure
      model: azure/gpt-4o-us
      api_base: os.environ/AZURE_US_BASE
      order: 2
      weight: 3
  - model_name: o3
    litellm_params:
      model: azure/o3
      api_base: https://eu.openai.azure.com/
      api_key: os.environ/AZURE_EU_KEY
      api_version: 2025-01-01-preview
      temperature: 1
      max_tokens: 4000
      input_cost_per_token: 2e-6
      output_cost_per_token: 0.000008
      cache_read_input_token_cost: 5.0e-07
      input_cost_per_second: 0.0004
  - model_name: dall-e-3
    litellm_params: {model: azure/dall-e-3, api_base: "https://eu.openai.azure.com/", api_key: os.environ/AZURE_EU_KEY}
    model_info: {mode: image_generation}
  - model_name: whisper
    litellm_params: {model: azure/whisper, api_key: os.environ/AZURE_EU_KEY}
    model_info: {mode: audio_transcription}
router_settings:
  routing_strategy: usage-based-routing-v2
  redis_host: os.environ/REDIS_HOST
  redis_port: 6379
  redis_password: swordfish/secret
  model_group_alias: {gpt-4: gpt-4o, "gpt-4-turbo": {model: gpt-4o, hidden: true}, broken: nowhere}
  enable_pre_call_checks: true
  allowed_fails: 3
  cooldown_time: 30
  retry_policy: {TimeoutErrorRetries: 3}
  timeout: 60
  fallbacks: [{"gpt-4o": ["o3"]}, {"*": ["o3"]}]
  num_retries: 2
"""

#: Wildcards and nothing else, as personal gateways are.
WILD: Final = """
model_list:
  - model_name: "anthropic/*"
    litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: "groq/*"
    litellm_params: {model: "groq/*", api_key: "${GROQ_API_KEY}"}
  - model_name: "local/*"
    litellm_params: {model: "openai/*", api_base: "http://127.0.0.1:11434/v1", api_key: none}
  - model_name: "*"
    litellm_params: {model: "*"}
  - model_name: "*"
    litellm_params: {model: "openai/*", api_key: os.environ/OPENAI_API_KEY}
litellm_settings:
  default_fallbacks: ["groq/llama-3.3-70b-versatile"]
"""

#: A bit of everything that has no counterpart.
ENTERPRISE: Final = """
environment_variables:
  LANGFUSE_SECRET_KEY: sk-lf-aaaaaaaaaaaaaaaaaaaa
  REDIS_HOST: redis.internal
  EMPTY:
credential_list:
  - credential_name: aws
    credential_values:
      aws_access_key_id: AKIAIOSFODNN7EXAMPLE
      aws_secret_access_key: wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY
      aws_region_name: us-east-1
    credential_info: {description: production}
model_list:
  - model_name: claude
    litellm_params: {model: bedrock/anthropic.claude-sonnet-4-5, litellm_credential_name: aws, tags: [free]}
    model_info: {access_groups: [beta], team_id: t1, my_own_note: x}
  - model_name: gemini
    litellm_params:
      model: vertex_ai/gemini-2.5-pro
      vertex_project: os.environ/VERTEX_PROJECT
      vertex_location: global
      vertex_credentials: os.environ/VERTEX_CREDENTIALS
      extra_headers: {x-team: search, Authorization: Bearer abcdefghijkl0123456789}
      extra_body: {labels: {team: search}}
  - model_name: smart
    litellm_params: {model: auto_router/auto_router_1, auto_router_config_path: router.json}
  - model_name: rerank
    litellm_params: {model: cohere/rerank-v3.5, api_key: os.environ/COHERE_API_KEY}
  - model_name: instruct
    litellm_params: {model: text-completion-openai/gpt-3.5-turbo-instruct}
    tpm: 1000
litellm_settings:
  callbacks: ["prometheus", "langfuse"]
  success_callback: ["langfuse"]
  cache: true
  cache_params:
    type: redis
    host: os.environ/REDIS_HOST
    port: os.environ/REDIS_PORT
    password: os.environ/REDIS_PASSWORD
  max_budget: 100
  budget_duration: 30d
  default_team_settings: [{team_id: t1, success_callback: [langfuse]}]
  something_new: 3
guardrails:
  - guardrail_name: pii
    litellm_params: {guardrail: presidio, mode: pre_call}
mcp_servers: {wiki: {url: "https://mcp.example.com"}}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  alerting: ["slack"]
  max_parallel_requests: 100
  pass_through_endpoints:
    - path: /v1/rerank
      target: "https://api.cohere.com/v1/rerank"
      headers: {Authorization: "bearer os.environ/COHERE_API_KEY"}
router_settings: {enable_tag_filtering: True}
a_section_of_tomorrow: {x: 1}
files_settings: [{custom_llm_provider: azure, api_key: os.environ/AZURE_API_KEY}]
"""

FILES: Final = {"small shop": SMALL_SHOP, "azure": AZURE, "wild": WILD, "enterprise": ENTERPRISE}

#: What of them is secret.
SECRETS: Final = (
    "sk-proj-abcdefghij0123456789",
    "sk-1234-master",
    "hunter2",
    "swordfish",
    "sk-lf-aaaaaaaaaaaaaaaaaaaa",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    "abcdefghijkl0123456789",
)

ENV: Final = {
    "AZURE_US_BASE": "https://us.openai.azure.com/",
    "REDIS_HOST": "localhost",
    "REDIS_PORT": "6379",
    "REDIS_PASSWORD": "pw",
}
